package wasi

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How the kernel resolves a path: below the directory, or as if the directory
// were the root. Links of procfs, which lead anywhere, are never followed.
const (
	beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS
	inRoot  = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
)

var here = []byte(".\x00")

// openat2 opens a path, which ends with NUL.
func (h *Host) openat2(dir int, path []byte, flags, mode, resolve uint64) (int, unix.Errno) {
	h.how = unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Mode: mode, Resolve: resolve}
	// EAGAIN says that something was moved while the kernel went along "..". Who
	// moves things for ever holds up nobody but this guest, yet not for ever.
	const tries = 1000
	for try := 1; ; try++ {
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(&path[0])),
			uintptr(unsafe.Pointer(&h.how)), unix.SizeofOpenHow, 0, 0)
		if e == unix.EINTR || e == unix.EAGAIN && try < tries {
			continue
		}
		return int(fd), e
	}
}

// open opens a path below a directory. A path that leaves it is PERM.
func (h *Host) open(d *descriptor, path []byte, flags, mode uint64) (int, errno) {
	fd, e := h.openat2(d.fd, path, flags, mode, beneath)
	if e == unix.EXDEV {
		if d.preopen == "" || leaves(path) {
			return -1, errnoPerm
		}
		// A link has led out, or would have if the guest's root were not the root
		// for links as well.
		fd, e = h.openat2(d.fd, path, flags, mode, inRoot)
	}
	return fd, fromLinux(e)
}

// leaves says whether a path leads above where it starts by its own words.
func leaves(path []byte) bool {
	if path[0] == '/' {
		return true
	}
	depth := 0
	for part := range bytes.SplitSeq(path[:len(path)-1], []byte("/")) {
		switch string(part) {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// entry is a name in a directory: what is made, removed and renamed, and never
// followed.
type entry struct {
	dir  int
	name []byte // ends with NUL, and before it with the slashes of the path
	// owned says that the directory was opened for the entry.
	owned bool
}

func (e *entry) close() {
	if e.owned {
		_ = unix.Close(e.dir)
	}
}

// entry opens the directory that a path's last name is in. It cuts the path.
func (h *Host) entry(d *descriptor, path []byte) (entry, errno) {
	end := len(path) - 1
	for end > 0 && path[end-1] == '/' {
		end--
	}
	slash := bytes.LastIndexByte(path[:end], '/')
	if end == 0 || slash == 0 {
		return entry{}, errnoPerm // absolute
	}
	if name := path[slash+1 : end]; string(name) == ".." {
		// The name itself may lead out.
		fd, e := h.open(d, path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if e != success {
			return entry{}, e
		}
		_ = unix.Close(fd)
	}
	if slash < 0 {
		return entry{dir: d.fd, name: path}, success
	}
	path[slash] = 0
	dir, e := h.open(d, path[:slash+1], unix.O_PATH|unix.O_DIRECTORY, 0)
	return entry{dir, path[slash+1:], true}, e
}

// entryOf is the entry of a path of the guest's, in buffer i.
func (h *Host) entryOf(i int, fd uint64, wanted rights, at, size uint64) (entry, errno) {
	d, e := h.table.directory(fd, wanted)
	if e != success {
		return entry{}, e
	}
	path, e := h.path(i, at, size)
	if e != success {
		return entry{}, e
	}
	return h.entry(d, path)
}

// lookup opens what a path stands for as a path alone: itself where it is a link
// and the lookupflags do not say that links are followed.
func (h *Host) lookup(fd uint64, wanted rights, lookupflags, at, size uint64) (int, errno) {
	d, e := h.table.directory(fd, wanted)
	if e != success {
		return -1, e
	}
	flags, e := lookup(lookupflags)
	if e != success {
		return -1, e
	}
	path, e := h.path(0, at, size)
	if e != success {
		return -1, e
	}
	return h.open(d, path, unix.O_PATH|flags, 0)
}

// lookup is the kernel's flag for the specification's lookupflags.
func lookup(lookupflags uint64) (flags uint64, e errno) {
	const symlinkFollow = 1
	switch uint32(lookupflags) {
	case 0:
		return unix.O_NOFOLLOW, success
	case symlinkFollow:
		return 0, success
	}
	return 0, errnoInval
}
