package task

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Kill sends a signal to a process, or with All to every process of the
// container. A process that has ended is not found. All means nothing to a
// process that Exec has added.
func (s *wasm) Kill(_ context.Context, r *taskAPI.KillRequest) (*emptypb.Empty, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if r.Signal > 64 {
		return nil, fmt.Errorf("signal %d: there is none above 64: %w", r.Signal, errdefs.ErrInvalidArgument)
	}
	sig, all := syscall.Signal(r.Signal), r.All && p == c.init

	c.mu.Lock()
	if !p.state.alive() {
		c.mu.Unlock()
		return nil, fmt.Errorf("%s has ended: %w", p, errdefs.ErrNotFound)
	}
	if p.guest == nil {
		defer c.mu.Unlock()
		return nil, p.refuse("killed")
	}
	deadly := sig == syscall.SIGKILL && p == c.init
	if deadly {
		c.killed = true
	}
	frozen := p.state == paused
	c.mu.Unlock()

	if all {
		err = c.signalAll(sig)
	} else {
		err = p.guest.Signal(sig)
	}
	if ended(err) {
		return nil, fmt.Errorf("%s has ended: %w", p, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: signal %d: %w", p, sig, err)
	}
	if frozen && deadly {
		// A frozen process of cgroup v1 dies when it is thawed and no sooner.
		if err := c.group.Thaw(); err != nil {
			return nil, fmt.Errorf("%s was killed but cannot be thawed to die: %w", p, err)
		}
	}
	return &emptypb.Empty{}, nil
}

// signalAll sends a signal to every process of the container.
func (c *container) signalAll(sig syscall.Signal) error {
	if sig == syscall.SIGKILL {
		return c.group.Kill()
	}
	pids, err := c.group.Pids()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			errs = append(errs, fmt.Errorf("process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}
