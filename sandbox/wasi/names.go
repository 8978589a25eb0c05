package wasi

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pathCreateDirectory is path_create_directory(fd, path).
func (h *Host) pathCreateDirectory(s []uint64) errno {
	return h.onEntry(s, rightCreateDirectory, unix.SYS_MKDIRAT, 0o777)
}

// pathRemoveDirectory is path_remove_directory(fd, path).
func (h *Host) pathRemoveDirectory(s []uint64) errno {
	return h.onEntry(s, rightRemoveDirectory, unix.SYS_UNLINKAT, unix.AT_REMOVEDIR)
}

// pathUnlinkFile is path_unlink_file(fd, path).
func (h *Host) pathUnlinkFile(s []uint64) errno {
	return h.onEntry(s, rightUnlink, unix.SYS_UNLINKAT, 0)
}

func (h *Host) onEntry(s []uint64, wanted rights, call, argument uintptr) errno {
	at, e := h.entryOf(0, s[0], wanted, s[1], s[2])
	if e != success {
		return e
	}
	defer at.close()
	_, _, no := unix.Syscall(call, uintptr(at.dir), uintptr(unsafe.Pointer(&at.name[0])), argument)
	return fromLinux(no)
}

// pathRename is path_rename(fd, old_path, new_fd, new_path).
func (h *Host) pathRename(s []uint64) errno {
	from, e := h.entryOf(0, s[0], rightRenameSource, s[1], s[2])
	if e != success {
		return e
	}
	defer from.close()
	to, e := h.entryOf(1, s[3], rightRenameTarget, s[4], s[5])
	if e != success {
		return e
	}
	defer to.close()
	_, _, no := unix.Syscall6(unix.SYS_RENAMEAT, uintptr(from.dir), uintptr(unsafe.Pointer(&from.name[0])), uintptr(to.dir), uintptr(unsafe.Pointer(&to.name[0])), 0, 0)
	return fromLinux(no)
}

// pathSymlink is path_symlink(old_path, fd, new_path). A link to an absolute path
// would lead a guest elsewhere than whoever shares its volume: PERM.
func (h *Host) pathSymlink(s []uint64) errno {
	at, e := h.entryOf(1, s[2], rightSymlink, s[3], s[4])
	if e != success {
		return e
	}
	defer at.close()
	target, e := h.path(0, s[0], s[1])
	if e != success {
		return e
	}
	if target[0] == '/' {
		return errnoPerm
	}
	_, _, no := unix.Syscall(unix.SYS_SYMLINKAT, uintptr(unsafe.Pointer(&target[0])), uintptr(at.dir), uintptr(unsafe.Pointer(&at.name[0])))
	return fromLinux(no)
}

// pathReadlink is path_readlink(fd, path, buf, buf_len) -> size.
func (h *Host) pathReadlink(s []uint64) errno {
	const nofollow = 0
	out, e := h.view(s[3], uint64(uint32(s[4])))
	if e != success {
		return e
	}
	size, e := h.view(s[5], 4)
	if e != success {
		return e
	}
	fd, e := h.lookup(s[0], rightReadlink, nofollow, s[1], s[2])
	if e != success {
		return e
	}
	defer unix.Close(fd)
	if e := h.fstat(fd); e != success {
		return e
	}
	if kindOf(&h.stat) != kindLink {
		return errnoInval
	}
	if len(out) == 0 {
		little.PutUint32(size, 0) // which to Linux is EINVAL
		return success
	}
	n, _, no := unix.Syscall6(unix.SYS_READLINKAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])), uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)), 0, 0)
	if no != 0 {
		return fromLinux(no)
	}
	little.PutUint32(size, uint32(n))
	return success
}

// pathLink is path_link(old_fd, old_flags, old_path, new_fd, new_path).
func (h *Host) pathLink(s []uint64) errno {
	d, e := h.table.directory(s[0], rightLinkSource)
	if e != success {
		return e
	}
	nofollow, e := lookup(s[1])
	if e != success {
		return e
	}
	path, e := h.path(0, s[2], s[3])
	if e != success {
		return e
	}
	to, e := h.entryOf(1, s[4], rightLinkTarget, s[5], s[6])
	if e != success {
		return e
	}
	defer to.close()
	if path[len(path)-2] == '/' {
		// The kernel would follow a link here, and no directory can be linked.
		fd, e := h.open(d, path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if e != success {
			return e
		}
		_ = unix.Close(fd)
		return errnoPerm
	}
	if nofollow == 0 {
		if path, e = h.target(d, path); e != success {
			return e
		}
	}
	from, e := h.entry(d, path)
	if e != success {
		return e
	}
	defer from.close()
	_, _, no := unix.Syscall6(unix.SYS_LINKAT, uintptr(from.dir), uintptr(unsafe.Pointer(&from.name[0])), uintptr(to.dir), uintptr(unsafe.Pointer(&to.name[0])), 0, 0)
	return fromLinux(no)
}

// target follows the links that a path ends in, word by word, because the kernel
// makes links by name alone unless a process has a capability. Should a name become
// a link in between, the link itself is what is linked.
func (h *Host) target(d *descriptor, path []byte) ([]byte, errno) {
	const most = 40 // Linux's MAXSYMLINKS
	for range most {
		at, e := h.entry(d, bytes.Clone(path))
		if e != success {
			return nil, e
		}
		var link [pathSize]byte
		n, _, no := unix.Syscall6(unix.SYS_READLINKAT, uintptr(at.dir), uintptr(unsafe.Pointer(&at.name[0])),
			uintptr(unsafe.Pointer(&link)), pathSize, 0, 0)
		at.close()
		switch {
		case no == unix.EINVAL:
			return path, success
		case no != 0:
			return nil, fromLinux(no)
		case link[0] == '/' && d.preopen == "":
			return nil, errnoPerm
		}
		parent := path[:bytes.LastIndexByte(path, '/')+1]
		if link[0] == '/' {
			parent = nil
		}
		path = append(append(bytes.Clone(parent), bytes.TrimLeft(link[:n], "/")...), 0)
		if len(path) > pathSize {
			return nil, errnoNametoolong
		}
		if len(path) == 1 {
			return nil, errnoPerm // the root, a directory
		}
	}
	return nil, errnoLoop
}

// pathFilestatGet is path_filestat_get(fd, flags, path) -> filestat.
func (h *Host) pathFilestatGet(s []uint64) errno { return h.pathFilestat(s, putFilestat) }

// pathFilestatGetUnstable has a shorter filestat.
func (h *Host) pathFilestatGetUnstable(s []uint64) errno {
	return h.pathFilestat(s, putFilestatUnstable)
}

func (h *Host) pathFilestat(s []uint64, put filestatPutter) errno {
	fd, e := h.lookup(s[0], rightPathFilestat, s[1], s[2], s[3])
	switch {
	case e == success:
		e = h.fstat(fd)
		_ = unix.Close(fd)
	case e == errnoLoop && uint32(s[1]) != 0:
		d, _ := h.table.directory(s[0], 0)
		path, _ := h.path(0, s[2], s[3])
		if stream := h.named(d, path); stream != nil {
			e = h.fstat(stream.fd)
		}
	}
	if e != success {
		return e
	}
	return put(h, s[4])
}

// pathFilestatSetTimes is path_filestat_set_times(fd, flags, path, atim, mtim,
// fst_flags).
func (h *Host) pathFilestatSetTimes(s []uint64) errno {
	fd, e := h.lookup(s[0], rightPathSetTimes, s[1], s[2], s[3])
	if e != success {
		return e
	}
	defer unix.Close(fd)
	return h.setTimes(fd, s[4], s[5], s[6])
}
