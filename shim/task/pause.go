package task

import (
	"context"
	"fmt"

	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Pause freezes every process of a running container.
func (s *wasm) Pause(_ context.Context, r *taskAPI.PauseRequest) (*emptypb.Empty, error) {
	c, err := s.container(r.ID)
	if err != nil {
		return nil, err
	}
	if err := c.enter(pausing, "paused"); err != nil {
		return nil, err
	}
	freezeErr := c.group.Freeze()

	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.init.state != pausing: // it has ended
		return nil, c.init.refuse("paused")
	case freezeErr == nil && c.killed:
		// The signal came between, and could not know of the frost.
		freezeErr = fmt.Errorf("it was killed meanwhile")
		if err := c.group.Thaw(); err != nil {
			freezeErr = fmt.Errorf("%w, and cannot be thawed to die: %w", freezeErr, err)
		}
	}
	if freezeErr != nil {
		_ = c.init.enter(running, "resumed")
		return nil, fmt.Errorf("%s cannot be paused: %w", c.init, freezeErr)
	}
	if err := c.init.enter(paused, "paused"); err != nil {
		return nil, err
	}
	s.events.send(&eventsAPI.TaskPaused{ContainerID: c.id})
	return &emptypb.Empty{}, nil
}

// Resume thaws a paused container.
func (s *wasm) Resume(_ context.Context, r *taskAPI.ResumeRequest) (*emptypb.Empty, error) {
	c, err := s.container(r.ID)
	if err != nil {
		return nil, err
	}
	if err := c.enter(resuming, "resumed"); err != nil {
		return nil, err
	}
	thawErr := c.group.Thaw()

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.init.state != resuming { // it has ended
		return nil, c.init.refuse("resumed")
	}
	if thawErr != nil {
		_ = c.init.enter(paused, "paused")
		return nil, fmt.Errorf("%s cannot be resumed: %w", c.init, thawErr)
	}
	if err := c.init.enter(running, "resumed"); err != nil {
		return nil, err
	}
	s.events.send(&eventsAPI.TaskResumed{ContainerID: c.id})
	return &emptypb.Empty{}, nil
}

// enter changes the state of the container's first process.
func (c *container) enter(next state, done string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.init.enter(next, done)
}
