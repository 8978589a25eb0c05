package wasi

import "golang.org/x/sys/unix"

// The specification's oflags.
const (
	openCreate = 1 << iota
	openDirectory
	openExclusive
	openTruncate

	allOpen = 1<<iota - 1
)

// pathOpen is path_open(fd, dirflags, path, oflags, base, inheriting, fdflags) ->
// fd. Rights that the specification does not know are passed over; the others must
// be among those that the directory passes on.
func (h *Host) pathOpen(s []uint64) errno {
	oflags, fdflags := uint64(uint32(s[4])), uint64(uint32(s[7]))
	base, inheriting := rights(s[5])&allRights, rights(s[6])&allRights
	own, passed := wantedToOpen(oflags, fdflags)
	d, e := h.table.directory(s[0], own)
	if e != success {
		return e
	}
	if !d.inheriting.has(base | inheriting | passed) {
		return errnoNotcapable
	}
	result, e := h.view(s[8], 4)
	if e != success {
		return e
	}
	flags, e := lookup(s[1])
	switch {
	case e != success:
		return e
	case oflags&^allOpen != 0, fdflags&^allFlags != 0, oflags&(openCreate|openDirectory) == openCreate|openDirectory:
		return errnoInval
	}
	path, e := h.path(0, s[2], s[3])
	if e != success {
		return e
	}
	var mode uint64
	if oflags&openCreate != 0 {
		mode = 0o666
	}
	flags |= linuxOpen(oflags, base) | openFlags(fdflags) | unix.O_NOCTTY
	fd, e := h.open(d, path, flags, mode)
	if e == errnoLoop && flags&unix.O_NOFOLLOW == 0 {
		if stream := h.named(d, path); stream != nil {
			opened, e := h.again(stream, base)
			if e == success {
				little.PutUint32(result, h.table.add(opened))
			}
			return e
		}
	}
	if e != success {
		return e
	}
	if e := h.fstat(fd); e != success {
		_ = unix.Close(fd)
		return e
	}
	opened := descriptor{kind: kindOf(&h.stat), fd: fd, listing: -1, base: base}
	opened.base &= opened.kind.rights()
	if opened.kind == kindDirectory {
		opened.base |= rightReaddir & d.inheriting
		opened.inheriting = inheriting
	}
	little.PutUint32(result, h.table.add(opened))
	return success
}

// wantedToOpen are the rights that it takes to open so, of the directory itself and
// of those that it passes on.
func wantedToOpen(oflags, fdflags uint64) (own, passed rights) {
	own = rightOpen
	if oflags&openCreate != 0 {
		own |= rightCreateFile
	}
	if oflags&openTruncate != 0 {
		own |= rightPathSetSize
	}
	if fdflags&flagDsync != 0 {
		passed |= rightDatasync
	}
	if fdflags&(flagSync|flagRsync) != 0 {
		passed |= rightSync
	}
	return own, passed
}

// linuxOpen are the kernel's flags. What is opened without a right to read or write
// is opened for reading.
func linuxOpen(oflags uint64, base rights) (flags uint64) {
	read, write := base&(rightRead|rightReaddir) != 0, base&(rightWrite|rightAllocate) != 0
	switch {
	case oflags&openDirectory != 0 || !write:
		flags = unix.O_RDONLY
	case read:
		flags = unix.O_RDWR
	default:
		flags = unix.O_WRONLY
	}
	if oflags&openCreate != 0 {
		flags |= unix.O_CREAT
	}
	if oflags&openDirectory != 0 {
		flags |= unix.O_DIRECTORY
	}
	if oflags&openExclusive != 0 {
		flags |= unix.O_EXCL
	}
	if oflags&openTruncate != 0 {
		flags |= unix.O_TRUNC
	}
	return flags
}
