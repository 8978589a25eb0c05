package wasi

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

var little = binary.LittleEndian

// maxIovecs is Linux's IOV_MAX. Of a longer list the first are transferred, as of
// any transfer a part may be.
const maxIovecs = 1024

// pathSize is Linux's PATH_MAX, with the NUL.
const pathSize = 4096

// view is a part of the guest's memory, not a copy. A pointer that is out of it is
// FAULT.
func (h *Host) view(at, size uint64) ([]byte, errno) {
	if size > 1<<32-1 || h.memory == nil {
		return nil, errnoFault
	}
	if b, ok := h.memory.Read(uint32(at), uint32(size)); ok {
		return b, success
	}
	return nil, errnoFault
}

// vectors makes h.iovecs of the guest's iovec_array, so that the kernel reads and
// writes the guest's memory itself.
func (h *Host) vectors(at, count uint64) (n int, e errno) {
	count = uint64(uint32(count))
	array, e := h.view(at, 8*count)
	if e != success {
		return 0, e
	}
	for ; len(array) > 0 && n < maxIovecs; array = array[8:] {
		size := little.Uint32(array[4:])
		if size == 0 {
			continue
		}
		b, e := h.view(uint64(little.Uint32(array)), uint64(size))
		if e != success {
			return 0, e
		}
		h.iovecs[n].Base = unsafe.SliceData(b)
		h.iovecs[n].SetLen(len(b))
		n++
	}
	return n, success
}

// path copies a guest's path into buffer i of h.paths. What it returns ends with a
// NUL, for the kernel.
func (h *Host) path(i int, at, size uint64) ([]byte, errno) {
	size = uint64(uint32(size))
	b, e := h.view(at, size)
	switch {
	case e != success:
		return nil, e
	case size == 0:
		return nil, errnoNoent
	case size >= pathSize:
		return nil, errnoNametoolong
	case bytes.IndexByte(b, 0) >= 0:
		return nil, errnoInval
	}
	n := copy(h.paths[i][:], b)
	h.paths[i][n] = 0
	return h.paths[i][:n+1], success
}

// empty is the empty path, which with AT_EMPTY_PATH is the descriptor itself.
var empty = []byte{0}

// vector is a system call on h.iovecs that returns a count, again where a signal
// has interrupted it: WASI has none.
func (h *Host) vector(call uintptr, fd, n int, offset uint64) (uint32, errno) {
	for {
		done, _, e := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&h.iovecs)), uintptr(n), uintptr(offset), 0, 0)
		if e != unix.EINTR {
			return uint32(done), fromLinux(e)
		}
	}
}
