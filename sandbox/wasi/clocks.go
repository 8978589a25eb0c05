package wasi

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The specification's clockid; Linux numbers them alike.
const (
	clockRealtime = iota
	clockMonotonic
	clockProcess
	clockThread

	clocks
)

// now reads a clock, in nanoseconds. The first two are read without a system call.
func (h *Host) now(clock uint32) int64 {
	switch clock {
	case clockRealtime:
		return time.Now().UnixNano()
	case clockMonotonic:
		return h.monotonicAtStart + int64(time.Since(h.started))
	}
	return h.kernelClock(clock)
}

func (h *Host) kernelClock(clock uint32) int64 {
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&h.clock)), 0)
	return h.clock.Nano()
}

// clockResGet is clock_res_get(id) -> timestamp. Every kernel that this runs on has
// clocks of nanoseconds.
func (h *Host) clockResGet(s []uint64) errno { return h.putClock(s[0], s[1], nil) }

// clockTimeGet is clock_time_get(id, precision) -> timestamp. No clock is read less
// precisely than it can be.
func (h *Host) clockTimeGet(s []uint64) errno { return h.putClock(s[0], s[2], (*Host).now) }

func (h *Host) putClock(id, at uint64, read func(*Host, uint32) int64) errno {
	clock := uint32(id)
	if clock >= clocks {
		return errnoInval
	}
	out, e := h.view(at, 8)
	if e != success {
		return e
	}
	time := int64(1)
	if read != nil {
		time = read(h, clock)
	}
	little.PutUint64(out, uint64(time))
	return success
}
