package wasi

import (
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// transfer moves bytes between a descriptor and the vectors of parameters 1 and 2,
// and stores how many. Nothing is moved where the count cannot be stored.
func (h *Host) transfer(call uintptr, d *descriptor, s []uint64, offset, result uint64) errno {
	n, e := h.vectors(s[1], s[2])
	if e != success {
		return e
	}
	size, e := h.view(result, 4)
	if e != success {
		return e
	}
	done, e := h.vector(call, d.fd, n, offset)
	if e == success {
		little.PutUint32(size, done)
	}
	return e
}

// reader is a descriptor that can be read from.
func (h *Host) reader(fd uint64, wanted rights) (*descriptor, errno) {
	d, e := h.table.get(fd, 0)
	switch {
	case e != success:
		return nil, e
	case d.kind == kindDirectory:
		return nil, errnoIsdir
	case !d.base.has(wanted):
		return nil, errnoNotcapable
	}
	return d, success
}

// fdRead is fd_read(fd, iovs, iovs_len) -> size.
func (h *Host) fdRead(s []uint64) errno {
	d, e := h.reader(s[0], rightRead)
	if e != success {
		return e
	}
	return h.transfer(unix.SYS_READV, d, s, 0, s[3])
}

// fdWrite is fd_write(fd, iovs, iovs_len) -> size.
func (h *Host) fdWrite(s []uint64) errno {
	d, e := h.table.get(s[0], rightWrite)
	if e != success {
		return e
	}
	return h.transfer(unix.SYS_WRITEV, d, s, 0, s[3])
}

// fdPread is fd_pread(fd, iovs, iovs_len, offset) -> size. It takes the right to
// seek as well.
func (h *Host) fdPread(s []uint64) errno {
	d, e := h.reader(s[0], 0)
	if e != success {
		return e
	}
	return h.positioned(unix.SYS_PREADV, d, rightRead, s)
}

// fdPwrite is fd_pwrite(fd, iovs, iovs_len, offset) -> size, likewise.
func (h *Host) fdPwrite(s []uint64) errno {
	d, e := h.table.get(s[0], 0)
	if e != success {
		return e
	}
	return h.positioned(unix.SYS_PWRITEV, d, rightWrite, s)
}

func (h *Host) positioned(call uintptr, d *descriptor, right rights, s []uint64) errno {
	switch {
	case !d.seekable():
		return errnoSpipe
	case !d.base.has(right | rightSeek):
		return errnoNotcapable
	case s[3] > math.MaxInt64:
		return errnoInval
	}
	return h.transfer(call, d, s, s[3], s[4])
}

// seekable is false for what has no offset by its kind: the answer is then SPIPE,
// whatever the rights.
func (d *descriptor) seekable() bool {
	return d.kind != kindPipe && d.kind != kindTerminal && d.kind != kindSocket
}

// fdSeek is fd_seek(fd, offset, whence) -> filesize.
func (h *Host) fdSeek(s []uint64) errno {
	whence := uint32(s[2])
	if whence > unix.SEEK_END {
		return errnoInval
	}
	return h.seek(s[0], int64(s[1]), int(whence), s[3])
}

// fdSeekUnstable has other numbers for whence: cur, end, set.
func (h *Host) fdSeekUnstable(s []uint64) errno {
	whence := uint32(s[2])
	if whence > 2 {
		return errnoInval
	}
	return h.seek(s[0], int64(s[1]), [...]int{unix.SEEK_CUR, unix.SEEK_END, unix.SEEK_SET}[whence], s[3])
}

// fdTell is fd_tell(fd) -> filesize.
func (h *Host) fdTell(s []uint64) errno { return h.seek(s[0], 0, unix.SEEK_CUR, s[1]) }

// seek takes the right to seek, or the one to tell where it changes nothing.
func (h *Host) seek(fd uint64, offset int64, whence int, result uint64) errno {
	d, e := h.table.get(fd, 0)
	if e != success {
		return e
	}
	wanted := rightSeek
	if offset == 0 && whence == unix.SEEK_CUR {
		wanted = rightTell
	}
	switch {
	case !d.seekable():
		return errnoSpipe
	case !d.base.has(wanted):
		return errnoNotcapable
	}
	size, e := h.view(result, 8)
	if e != success {
		return e
	}
	at, _, no := unix.Syscall(unix.SYS_LSEEK, uintptr(d.fd), uintptr(offset), uintptr(whence))
	if no != 0 {
		return fromLinux(no)
	}
	little.PutUint64(size, uint64(at))
	return success
}

// fdSync is fd_sync(fd).
func (h *Host) fdSync(s []uint64) errno { return h.sync(s[0], rightSync, unix.SYS_FSYNC) }

// fdDatasync is fd_datasync(fd).
func (h *Host) fdDatasync(s []uint64) errno { return h.sync(s[0], rightDatasync, unix.SYS_FDATASYNC) }

func (h *Host) sync(fd uint64, wanted rights, call uintptr) errno {
	d, e := h.table.get(fd, wanted)
	if e != success {
		return e
	}
	real, e := h.readable(d)
	if e != success {
		return e
	}
	_, _, no := unix.Syscall(call, uintptr(real), 0, 0)
	return fromLinux(no)
}

// fdAdvise is fd_advise(fd, offset, len, advice); Linux's advices have the same
// numbers.
func (h *Host) fdAdvise(s []uint64) errno {
	// The order of the specification, in Linux's numbers.
	advices := [...]uintptr{
		unix.FADV_NORMAL, unix.FADV_SEQUENTIAL, unix.FADV_RANDOM, unix.FADV_WILLNEED, unix.FADV_DONTNEED, unix.FADV_NOREUSE,
	}
	d, e := h.table.get(s[0], 0)
	advice := uint32(s[3])
	switch {
	case e != success:
		return e
	case !d.seekable():
		return errnoSpipe
	case !d.base.has(rightAdvise):
		return errnoNotcapable
	case advice >= uint32(len(advices)), s[1] > math.MaxInt64, s[2] > math.MaxInt64:
		return errnoInval
	}
	real, e := h.readable(d)
	if e != success {
		return e
	}
	_, _, no := unix.Syscall6(unix.SYS_FADVISE64, uintptr(real), uintptr(s[1]), uintptr(s[2]), advices[advice], 0, 0)
	return fromLinux(no)
}

// fdAllocate is fd_allocate(fd, offset, len).
func (h *Host) fdAllocate(s []uint64) errno {
	d, e := h.table.get(s[0], rightAllocate)
	switch {
	case e != success:
		return e
	case s[1] > math.MaxInt64, s[2] > math.MaxInt64:
		return errnoInval
	}
	for {
		_, _, no := unix.Syscall6(unix.SYS_FALLOCATE, uintptr(d.fd), 0, uintptr(s[1]), uintptr(s[2]), 0, 0)
		if no != unix.EINTR {
			return fromLinux(no)
		}
	}
}

// fdFilestatSetSize is fd_filestat_set_size(fd, size).
func (h *Host) fdFilestatSetSize(s []uint64) errno {
	d, e := h.table.get(s[0], rightSetSize)
	switch {
	case e != success:
		return e
	case s[1] > math.MaxInt64:
		return errnoInval
	}
	_, _, no := unix.Syscall(unix.SYS_FTRUNCATE, uintptr(d.fd), uintptr(s[1]), 0)
	return fromLinux(no)
}

// fdClose is fd_close(fd).
func (h *Host) fdClose(s []uint64) errno {
	d, e := h.table.get(s[0], 0)
	if e != success {
		return e
	}
	return h.table.close(d)
}

// fdRenumber is fd_renumber(fd, to). Both must be open.
func (h *Host) fdRenumber(s []uint64) errno {
	from, e := h.table.get(s[0], 0)
	if e != success {
		return e
	}
	to, e := h.table.get(s[1], 0)
	if e != success || from == to {
		return e
	}
	_ = h.table.close(to)
	*to = *from
	from.open = false
	return success
}

// unreadBytes is how many bytes a pipe, terminal or socket has to read (FIONREAD,
// by its other name).
func (h *Host) unreadBytes(fd int) uint64 {
	h.unread = 0
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCINQ, uintptr(unsafe.Pointer(&h.unread)))
	return uint64(max(0, h.unread))
}
