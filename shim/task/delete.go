package task

import (
	"context"
	"fmt"
	"syscall"
	"time"

	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs"
)

// Delete removes a container that has ended, or that was never started, or such
// a process of one. If that fails, it stays and can be deleted again.
func (s *wasm) Delete(ctx context.Context, r *taskAPI.DeleteRequest) (*taskAPI.DeleteResponse, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if p != c.init {
		return s.deleteOther(p)
	}
	if err := c.endUnstarted(ctx); err != nil {
		return nil, err
	}
	if err := c.enter(deleting, "deleted"); err != nil {
		return nil, err
	}
	if err := c.release(); err != nil {
		_ = c.enter(stopped, "ended")
		return nil, fmt.Errorf("%s cannot be deleted: %w", p, err)
	}
	if err := c.enter(deleted, "deleted"); err != nil {
		return nil, err
	}
	c.forgetOthers()
	exitedAt := protobuf.ToTimestamp(p.exitedAt)
	// At once, so that the events of a new container of that id follow.
	s.mu.Lock()
	delete(s.containers, c.id)
	s.events.send(&eventsAPI.TaskDelete{
		ContainerID: c.id,
		Pid:         uint32(p.pid),
		ExitStatus:  p.exitStatus,
		ExitedAt:    exitedAt,
	})
	s.mu.Unlock()
	c.log.Info("deleted")
	return &taskAPI.DeleteResponse{Pid: uint32(p.pid), ExitStatus: p.exitStatus, ExitedAt: exitedAt}, nil
}

// endUnstarted kills the process of a container that has not been started, and
// waits for its end.
func (c *container) endUnstarted(ctx context.Context) error {
	c.mu.Lock()
	unstarted := c.init.state == created
	c.mu.Unlock()
	if !unstarted {
		return nil
	}
	if err := c.init.guest.Signal(syscall.SIGKILL); err != nil && !ended(err) {
		return fmt.Errorf("%s cannot be killed: %w", c.init, err)
	}
	select {
	case <-c.init.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s was killed: %w", c.init, context.Cause(ctx))
	case <-time.After(killTimeout):
		return fmt.Errorf("%s was killed but has not ended in %s: %w", c.init, killTimeout, errdefs.ErrUnavailable)
	}
}

// deleteOther removes a process that Exec has added. No event tells of it, as
// none does from runc's shim.
func (s *wasm) deleteOther(p *process) (*taskAPI.DeleteResponse, error) {
	c := p.container
	c.mu.Lock()
	unstarted := p.state == created
	err := p.enter(deleting, "deleted")
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if !unstarted {
		drained, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		p.stdio.close(drained)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if err := p.enter(deleted, "deleted"); err != nil {
		return nil, err
	}
	if unstarted {
		close(p.ended)
	}
	delete(c.others, p.execID)
	return &taskAPI.DeleteResponse{Pid: uint32(p.pid), ExitStatus: p.exitStatus, ExitedAt: protobuf.ToTimestamp(p.exitedAt)}, nil
}

// forgetOthers lets those go who wait for a process that was never started.
func (c *container) forgetOthers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.others {
		if p.state == created && p.enter(deleting, "deleted") == nil {
			close(p.ended)
		}
	}
}
