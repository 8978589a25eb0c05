package wasi

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// randomGet is random_get(buf, buf_len): the kernel's random numbers. crypto/rand
// would give the same ones, and cost every start its packages' set-up.
func (h *Host) randomGet(s []uint64) errno {
	out, e := h.view(s[0], uint64(uint32(s[1])))
	if e != success {
		return e
	}
	// A signal cuts a long request short.
	for len(out) > 0 {
		n, _, no := unix.Syscall(unix.SYS_GETRANDOM, uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)), 0)
		if no == unix.EINTR {
			continue
		}
		if no != 0 {
			return fromLinux(no)
		}
		out = out[n:]
	}
	return success
}
