package sandbox

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// handle sends signals to one process and never, as a bare pid would, to
// another that came after it.
type handle struct {
	mu    sync.RWMutex
	pid   int
	pidfd int // -1 on kernels before 5.2, which have none
	done  bool
}

func newHandle(pid, pidfd int) *handle { return &handle{pid: pid, pidfd: pidfd} }

func (h *handle) signal(sig syscall.Signal) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.done {
		return os.ErrProcessDone
	}
	var err error
	if h.pidfd >= 0 {
		err = unix.PidfdSendSignal(h.pidfd, sig, nil, 0)
	} else {
		err = unix.Kill(h.pid, sig)
	}
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// ended reports whether the process has ended, reaped or not. Without a pidfd
// one that waits to be reaped counts as living.
func (h *handle) ended() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.done || h.pidfd < 0 {
		return h.done || unix.Kill(h.pid, 0) == unix.ESRCH
	}
	// A pidfd becomes readable at the end of its process (pidfd_open(2)).
	fds := []unix.PollFd{{Fd: int32(h.pidfd), Events: unix.POLLIN}}
	return pollPatiently(fds, 0)
}

// wait waits for the end of the process, reaped or not.
func (h *handle) wait() {
	if h.pidfd >= 0 {
		pollPatiently([]unix.PollFd{{Fd: int32(h.pidfd), Events: unix.POLLIN}}, -1)
	}
}

// pollPatiently says whether a descriptor is ready within so many milliseconds.
func pollPatiently(fds []unix.PollFd, timeout int) bool {
	for {
		n, err := unix.Poll(fds, timeout)
		if err != unix.EINTR {
			return n > 0
		}
	}
}

func (h *handle) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pidfd >= 0 && !h.done {
		unix.Close(h.pidfd)
	}
	h.done = true
}
