package seccomp

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Install puts a filter on every thread of the process, beside those that it
// has already; the strictest counts. Flags are SECCOMP_FILTER_FLAG_*. The process
// must have no_new_privs set on all threads.
func Install(filter []unix.SockFilter, flags uint) error {
	if len(filter) == 0 {
		return fmt.Errorf("an empty system-call filter")
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		uintptr(flags|unix.SECCOMP_FILTER_FLAG_TSYNC), uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	switch {
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d has other filters than the rest of the process", thread)
	}
	return nil
}
