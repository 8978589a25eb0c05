package child

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// exitOnSignal is a signal handler in assembly: it ends the process with
// 128 + the signal's number.
func exitOnSignal()

// exitOnSignalAddress returns where exitOnSignal is.
func exitOnSignalAddress() uintptr

// sigaction is the kernel's struct sigaction, which amd64 and arm64 share
// (include/linux/signal_types.h).
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const (
	saOnStack  = 0x08000000
	saRestorer = 0x04000000
)

// endOnSignals makes the signals that ask a program to end do so at once. A
// guest has no signal handlers, and without one the kernel keeps such signals
// from the first process of a pid namespace. os/signal would not do: its
// handlers wait until a goroutine can run, which while a guest computes may be
// never.
func endOnSignals() error {
	action := sigaction{
		handler: exitOnSignalAddress(),
		// The alternate stack, because a guest's own may be too small for a
		// signal frame. A restorer, because amd64 demands one; nothing returns to it.
		flags:    saOnStack | saRestorer,
		restorer: exitOnSignalAddress(),
	}
	for _, signal := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal),
			uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
		if errno != 0 {
			return errno
		}
	}
	return nil
}
