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

// Delete removes a container that has ended, or that was never started. If that
// fails, the container stays and can be deleted again.
func (s *service) Delete(ctx context.Context, r *taskAPI.DeleteRequest) (*taskAPI.DeleteResponse, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
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
