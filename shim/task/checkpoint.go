package task

import (
	"context"
	"fmt"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Checkpoint is not there: the state of a module cannot be taken out of a
// process that runs compiled code.
func (s *wasm) Checkpoint(_ context.Context, r *taskAPI.CheckpointTaskRequest) (*emptypb.Empty, error) {
	c, err := s.container(r.ID)
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s: a WebAssembly container cannot be checkpointed: %w", c.init, errdefs.ErrNotImplemented)
}
