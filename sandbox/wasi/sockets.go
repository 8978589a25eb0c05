package wasi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of the specification: riflags and sdflags.
const (
	recvPeek    = 1
	recvWaitall = 2
	shutdownRd  = 1
	shutdownWr  = 2
)

// socket returns a socket that has the rights.
func (h *Host) socket(fd uint64, wanted rights) (*descriptor, errno) {
	d, e := h.table.get(fd, 0)
	switch {
	case e != success:
		return nil, e
	case d.kind != kindSocket:
		return nil, errnoNotsock
	case !d.base.has(wanted):
		return nil, errnoNotcapable
	}
	return d, success
}

// sockAccept is sock_accept(fd, flags) -> fd.
func (h *Host) sockAccept(s []uint64) errno {
	d, e := h.socket(s[0], rightAccept)
	if e != success {
		return e
	}
	flags := uint64(uint32(s[1]))
	if flags&^flagNonblock != 0 {
		return errnoInval
	}
	result, e := h.view(s[2], 4)
	if e != success {
		return e
	}
	for {
		fd, _, no := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(d.fd), 0, 0, uintptr(openFlags(flags))|unix.SOCK_CLOEXEC, 0, 0)
		if no == unix.EINTR {
			continue
		}
		if no != 0 {
			return fromLinux(no)
		}
		accepted := descriptor{kind: kindSocket, fd: int(fd), listing: -1, base: socketRights &^ rightAccept}
		little.PutUint32(result, h.table.add(accepted))
		return success
	}
}

// sockRecv is sock_recv(fd, ri_data, ri_data_len, ri_flags) -> (size, roflags). With
// flags it fills the first buffer alone: recvmsg(2) would also receive descriptors.
func (h *Host) sockRecv(s []uint64) errno {
	d, e := h.socket(s[0], rightRead)
	if e != success {
		return e
	}
	flags := uint32(s[3])
	if flags&^(recvPeek|recvWaitall) != 0 {
		return errnoInval
	}
	roflags, e := h.view(s[5], 2)
	if e != success {
		return e
	}
	little.PutUint16(roflags, 0)
	if flags == 0 {
		return h.transfer(unix.SYS_READV, d, s, 0, s[4])
	}
	n, e := h.vectors(s[1], s[2])
	if e != success {
		return e
	}
	size, e := h.view(s[4], 4)
	if e != success || n == 0 {
		return e
	}
	var linuxFlags uintptr
	if flags&recvPeek != 0 {
		linuxFlags |= unix.MSG_PEEK
	}
	if flags&recvWaitall != 0 {
		linuxFlags |= unix.MSG_WAITALL
	}
	for {
		done, _, no := unix.Syscall6(unix.SYS_RECVFROM, uintptr(d.fd), uintptr(unsafe.Pointer(h.iovecs[0].Base)), uintptr(h.iovecs[0].Len), linuxFlags, 0, 0)
		if no == unix.EINTR {
			continue
		}
		if no == 0 {
			little.PutUint32(size, uint32(done))
		}
		return fromLinux(no)
	}
}

// sockSend is sock_send(fd, si_data, si_data_len, si_flags) -> size.
func (h *Host) sockSend(s []uint64) errno {
	d, e := h.socket(s[0], rightWrite)
	if e != success {
		return e
	}
	if uint32(s[3]) != 0 {
		return errnoInval
	}
	return h.transfer(unix.SYS_WRITEV, d, s, 0, s[4])
}

// sockShutdown is sock_shutdown(fd, how).
func (h *Host) sockShutdown(s []uint64) errno {
	d, e := h.socket(s[0], rightShutdown)
	if e != success {
		return e
	}
	var how uintptr
	switch uint32(s[1]) {
	case shutdownRd:
		how = unix.SHUT_RD
	case shutdownWr:
		how = unix.SHUT_WR
	case shutdownRd | shutdownWr:
		how = unix.SHUT_RDWR
	default:
		return errnoInval
	}
	_, _, no := unix.Syscall(unix.SYS_SHUTDOWN, uintptr(d.fd), how, 0)
	return fromLinux(no)
}
