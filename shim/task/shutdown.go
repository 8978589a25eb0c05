package task

import (
	"context"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Shutdown ends the shim unless it still has containers, or a pod. Daemons ask
// after every delete.
func (s *service) Shutdown(context.Context, *taskAPI.ShutdownRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shutdownMissed = true
	s.shutdownIfIdle()
	return &emptypb.Empty{}, nil
}

// shutdownIfIdle ends the shim unless it has containers or a pod; s.mu is held.
func (s *service) shutdownIfIdle() {
	if len(s.containers) > 0 || s.pod.Exists() || s.down {
		return
	}
	s.down = true
	s.shutdown.Shutdown()
}
