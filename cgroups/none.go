package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/moby/sys/userns"
	"golang.org/x/sys/unix"
)

// ErrNoGroup is what cannot be done to a container that runs without a control
// group of its own: measuring it, freezing it, limiting it. The error that wraps
// it says why there is none.
var ErrNoGroup = errors.New("the container has no control group")

// delegation says what lets a runtime in a user namespace make control groups.
const delegation = "in a user namespace this takes cgroup v2 and a group that was delegated to the user, with containerd in it " +
	"(systemd: Delegate=yes; RootlessKit: --cgroupns --evacuate-cgroup2=NAME)"

// none stands in for the group of a container that has none: where containerd is
// in a user namespace, nothing has been delegated to it, and the container asks
// for no limit. It then only remembers who is in the container. That is known as
// well as by the kernel, since a sandbox process cannot fork.
type none struct {
	reason error

	mu      sync.Mutex
	members []member
}

// member holds a process by its pidfd, so that its pid is never another's.
type member struct{ pid, fd int }

// undelegated says whether a group could not be made because this process is in a
// user namespace.
func undelegated(err error) bool {
	return userns.RunningInUserNS() && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS))
}

// goWithout makes the container go without the group that err kept from being
// made, unless it asks for limits.
func (g *Group) goWithout(err error) error {
	err = fmt.Errorf("control group %s cannot be made: %w; %s", g.name, err, delegation)
	if len(g.settings) > 0 {
		return fmt.Errorf("linux.resources.%s: %w", g.settings[0].field, err)
	}
	g.none.Store(&none{reason: fmt.Errorf("%w: %w", ErrNoGroup, err)})
	return nil
}

func (n *none) add(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("process %d: pidfd_open: %w", pid, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.prune()
	n.members = append(n.members, member{pid, fd})
	return nil
}

func (n *none) pids() (pids []int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.prune()
	for _, m := range n.members {
		pids = append(pids, m.pid)
	}
	return pids
}

func (n *none) kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, m := range n.members {
		if err := unix.PidfdSendSignal(m.fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
			errs = append(errs, fmt.Errorf("process %d cannot be killed: %w", m.pid, err))
		}
	}
	return errors.Join(errs...)
}

// prune lets go of those who have ended, reaped or not: their pidfd is readable,
// pidfd_open(2). The lock is held.
func (n *none) prune() {
	n.members = slices.DeleteFunc(n.members, func(m member) bool {
		fds := []unix.PollFd{{Fd: int32(m.fd), Events: unix.POLLIN}}
		if ready, err := unix.Poll(fds, 0); err != nil || ready == 0 {
			return false
		}
		unix.Close(m.fd)
		return true
	})
}
