package task

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/linux"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
)

// Create makes a container of either kind.
func (s *service) Create(ctx context.Context, r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskResponse, error) {
	if err := s.reserve(r.ID); err != nil {
		return nil, err
	}
	t, response, err := s.create(ctx, r)
	if err != nil {
		s.unreserve(r.ID)
		return nil, err
	}
	s.mu.Lock()
	s.containers[r.ID] = t
	s.mu.Unlock()
	return response, nil
}

func (s *service) create(ctx context.Context, r *taskAPI.CreateTaskRequest) (tasks, *taskAPI.CreateTaskResponse, error) {
	if err := s.pod.Furnish(r.Bundle); err != nil {
		return nil, nil, fmt.Errorf("container %q: files of its pod: %w", r.ID, err)
	}
	response, err := s.wasm.Create(ctx, r)
	container, ok := errors.AsType[*linuxContainer](err)
	if !ok {
		return s.wasm, response, err
	}
	t, err := s.linux()
	if err != nil {
		return nil, nil, err
	}
	response, err = t.Create(ctx, r, container.systemd)
	return t, response, linux.Native(err)
}

// reserve takes the id, so that of two creations at the same time one fails.
func (s *service) reserve(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return fmt.Errorf("container %q: the shim is shutting down: %w", id, errdefs.ErrUnavailable)
	}
	if _, taken := s.containers[id]; taken {
		return fmt.Errorf("container %q: %w", id, errdefs.ErrAlreadyExists)
	}
	s.containers[id] = nil
	s.shutdownMissed = false
	return nil
}

// unreserve gives the id of a failed creation back. A daemon that went away
// meanwhile does not ask for the shutdown again that it could not get.
func (s *service) unreserve(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, id)
	if s.shutdownMissed {
		s.shutdownIfIdle()
	}
}
