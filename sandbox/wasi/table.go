package wasi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// kind is what a descriptor is of.
type kind uint8

const (
	kindOther kind = iota
	kindFile
	kindDirectory
	kindTerminal
	kindCharacter // a character device that is no terminal
	kindBlock
	kindPipe
	kindSocket
	kindLink // of stat alone
)

// descriptor is an entry of the table.
type descriptor struct {
	open bool
	kind kind
	// fd is the kernel's. Of a preopened directory it is a path alone (O_PATH).
	fd int
	// listing is a preopened directory once more, to be read; -1 until then.
	listing int
	// preopen is the guest's name of a preopened directory.
	preopen          string
	base, inheriting rights
}

// table has the descriptors by the guest's numbers.
type table []descriptor

// get returns an open descriptor that has the rights. It is good until the next
// descriptor is opened.
func (t table) get(fd uint64, wanted rights) (*descriptor, errno) {
	if n := uint32(fd); n < uint32(len(t)) && t[n].open {
		if d := &t[n]; d.base.has(wanted) {
			return d, success
		}
		return nil, errnoNotcapable
	}
	return nil, errnoBadf
}

// directory returns an open directory that has the rights.
func (t table) directory(fd uint64, wanted rights) (*descriptor, errno) {
	d, e := t.get(fd, 0)
	switch {
	case e != success:
		return nil, e
	case d.kind != kindDirectory:
		return nil, errnoNotdir
	case !d.base.has(wanted):
		return nil, errnoNotcapable
	}
	return d, success
}

// add puts a descriptor at the lowest free number, as POSIX has it.
func (t *table) add(d descriptor) uint32 {
	d.open = true
	for i := range *t {
		if !(*t)[i].open {
			(*t)[i] = d
			return uint32(i)
		}
	}
	*t = append(*t, d)
	return uint32(len(*t) - 1)
}

// close closes a descriptor, and what the kernel has of it where no other stands for
// the same. The standard error stays open, because messages about the guest go there.
func (t table) close(d *descriptor) errno {
	d.open = false
	if d.listing >= 0 {
		_ = unix.Close(d.listing)
	}
	if d.fd == unix.Stderr {
		return success
	}
	for i := range t {
		if t[i].open && t[i].fd == d.fd {
			return success
		}
	}
	_, _, e := unix.Syscall(unix.SYS_CLOSE, uintptr(d.fd), 0, 0)
	return fromLinux(e)
}

// stream makes a descriptor of a standard stream as it is; ok is false where the
// process has none.
func (h *Host) stream(fd int) (d descriptor, ok bool) {
	if h.fstat(fd) != success {
		return d, false
	}
	d = descriptor{kind: kindOf(&h.stat), fd: fd, listing: -1}
	d.base = d.kind.rights()
	if d.kind == kindDirectory {
		d.inheriting = allRights
	}
	if flags, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0); e == 0 {
		switch flags & unix.O_ACCMODE {
		case unix.O_RDONLY:
			d.base &^= rightWrite | rightAllocate | rightSetSize
		case unix.O_WRONLY:
			d.base &^= rightRead
		}
	}
	return d, true
}

// preopened opens a directory for the table.
func preopened(p Preopen) (descriptor, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, p.Path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC})
	if err != nil {
		return descriptor{}, fmt.Errorf("directory %s of the guest cannot be opened: %w", p.Path, err)
	}
	return descriptor{kind: kindDirectory, fd: fd, listing: -1, preopen: p.Name, base: dirRights, inheriting: allRights}, nil
}

// rights are those that apply to the kind.
func (k kind) rights() rights {
	switch k {
	case kindDirectory:
		return dirRights
	case kindTerminal:
		return terminalRights
	case kindPipe:
		return pipeRights
	case kindSocket:
		return socketRights
	}
	return fileRights
}

// filetype is the specification's.
func (k kind) filetype() byte {
	switch k {
	case kindBlock:
		return 1
	case kindCharacter, kindTerminal:
		return 2
	case kindDirectory:
		return 3
	case kindFile:
		return 4
	case kindSocket:
		return 6
	case kindLink:
		return 7
	}
	return 0
}

// kindOf knows a terminal by its device's major number
// (Documentation/admin-guide/devices.txt), which takes no ioctl.
func kindOf(st *unix.Stat_t) kind {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return kindFile
	case unix.S_IFDIR:
		return kindDirectory
	case unix.S_IFIFO:
		return kindPipe
	case unix.S_IFSOCK:
		return kindSocket
	case unix.S_IFBLK:
		return kindBlock
	case unix.S_IFLNK:
		return kindLink
	case unix.S_IFCHR:
		const (
			consoles   = 4 // and serial lines
			controlled = 5 // /dev/tty, /dev/console
			firstPTS   = 136
			lastPTS    = 143
		)
		major := unix.Major(uint64(st.Rdev))
		if major == consoles || major == controlled || major >= firstPTS && major <= lastPTS {
			return kindTerminal
		}
		return kindCharacter
	}
	return kindOther
}
