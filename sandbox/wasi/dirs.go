package wasi

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fdPrestatGet is fd_prestat_get(fd) -> prestat. Guests ask from descriptor 3 on
// until the answer is BADF.
func (h *Host) fdPrestatGet(s []uint64) errno {
	d, e := h.table.get(s[0], 0)
	if e != success || d.preopen == "" {
		return errnoBadf
	}
	out, e := h.view(s[1], 8)
	if e != success {
		return e
	}
	little.PutUint32(out, 0) // preopentype::dir
	little.PutUint32(out[4:], uint32(len(d.preopen)))
	return success
}

// fdPrestatDirName is fd_prestat_dir_name(fd, path, path_len).
func (h *Host) fdPrestatDirName(s []uint64) errno {
	d, e := h.table.get(s[0], 0)
	if e != success || d.preopen == "" {
		return errnoBadf
	}
	size := uint32(s[2])
	if size < uint32(len(d.preopen)) {
		return errnoNametoolong
	}
	out, e := h.view(s[1], uint64(len(d.preopen)))
	if e != success {
		return e
	}
	copy(out, d.preopen)
	return success
}

// readable is the kernel's descriptor of what can be read and synchronized. Of a
// preopened directory that is a second one.
func (h *Host) readable(d *descriptor) (int, errno) {
	if d.preopen == "" {
		return d.fd, success
	}
	if d.listing < 0 {
		fd, e := h.openat2(d.fd, here, unix.O_RDONLY|unix.O_DIRECTORY, 0, beneath)
		if e != 0 {
			return -1, fromLinux(e)
		}
		d.listing = fd
	}
	return d.listing, success
}

// The sizes of the heads of directory entries: WASI's dirent, and the kernel's
// (getdents64(2)).
const (
	direntSize       = 24
	linuxDirentSize  = 19
	direntBufferSize = 16 << 10
)

// fdReaddir is fd_readdir(fd, buf, buf_len, cookie) -> size. A cookie is the file
// system's own position behind an entry, so it means the same however often the
// directory is read, and while entries come and go.
func (h *Host) fdReaddir(s []uint64) errno {
	d, e := h.table.directory(s[0], rightReaddir)
	if e != success {
		return e
	}
	out, e := h.view(s[1], uint64(uint32(s[2])))
	if e != success {
		return e
	}
	size, e := h.view(s[4], 4)
	if e != success {
		return e
	}
	fd, e := h.readable(d)
	if e != success {
		return e
	}
	if _, _, no := unix.Syscall(unix.SYS_LSEEK, uintptr(fd), uintptr(s[3]), unix.SEEK_SET); no != 0 {
		return fromLinux(no)
	}
	if h.dirent == nil {
		h.dirent = make([]byte, direntBufferSize)
	}
	used := 0
	for used < len(out) {
		// An entry takes about as much here as there; none is longer than the least.
		const least = 512
		room := h.dirent[:min(max(len(out)-used, least), direntBufferSize)]
		n, _, no := unix.Syscall(unix.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(room))), uintptr(len(room)))
		if no != 0 {
			return fromLinux(no)
		}
		if n == 0 {
			break
		}
		used += putDirents(out[used:], room[:n])
	}
	little.PutUint32(size, uint32(used))
	return success
}

// putDirents writes the kernel's entries as WASI's until the buffer is full, of the
// last one what has room: by that a guest knows that there is more.
func putDirents(out, entries []byte) (used int) {
	for len(entries) > 0 && used < len(out) {
		size := little.Uint16(entries[16:])
		name := entries[linuxDirentSize:size]
		name = name[:bytes.IndexByte(name, 0)]
		var head [direntSize]byte
		copy(head[:8], entries[8:16]) // the position behind the entry
		copy(head[8:16], entries[:8]) // the inode
		little.PutUint32(head[16:], uint32(len(name)))
		head[20] = direntKind(entries[18]).filetype()
		used += copy(out[used:], head[:])
		used += copy(out[used:], name)
		entries = entries[size:]
	}
	return used
}

func direntKind(t byte) kind {
	switch t {
	case unix.DT_REG:
		return kindFile
	case unix.DT_DIR:
		return kindDirectory
	case unix.DT_CHR:
		return kindCharacter
	case unix.DT_BLK:
		return kindBlock
	case unix.DT_SOCK:
		return kindSocket
	case unix.DT_LNK:
		return kindLink
	}
	return kindOther
}
