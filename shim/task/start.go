package task

import (
	"context"
	"fmt"

	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
)

// Start lets a created process run. One that Exec has added is made first.
func (s *wasm) Start(ctx context.Context, r *taskAPI.StartRequest) (*taskAPI.StartResponse, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if p != c.init {
		return s.startOther(ctx, p)
	}
	// With the lock held, since the exit of a quick guest must not be told of
	// before its start; one byte into an empty socket does not block.
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.state != created {
		return nil, p.refuse("started")
	}
	if err := p.guest.Start(); err != nil {
		if ended(err) {
			return nil, fmt.Errorf("%s ended before it was started: %w", p, errdefs.ErrFailedPrecondition)
		}
		return nil, fmt.Errorf("%s cannot be started: %w", p, err)
	}
	if err := p.enter(running, "started"); err != nil {
		return nil, err
	}
	s.events.send(&eventsAPI.TaskStart{ContainerID: c.id, Pid: uint32(p.pid)})
	c.log.WithField("pid", p.pid).Info("started")
	return &taskAPI.StartResponse{Pid: uint32(p.pid)}, nil
}
