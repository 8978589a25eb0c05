package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Stats measures a container; of one that has ended, as it was at its end.
func (s *wasm) Stats(_ context.Context, r *taskAPI.StatsRequest) (*taskAPI.StatsResponse, error) {
	c, err := s.container(r.ID)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	last, alive := c.lastStats, c.init.state.alive()
	c.mu.Unlock()
	if last != nil {
		return &taskAPI.StatsResponse{Stats: last}, nil
	}
	if !alive {
		return nil, fmt.Errorf("%s has ended and left no metrics: %w", c.init, errdefs.ErrNotFound)
	}
	metrics, err := c.group.Metrics()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no cgroup to measure: %w: %w", c.init, err, errdefs.ErrNotFound)
	}
	if errors.Is(err, cgroups.ErrNoGroup) {
		return nil, fmt.Errorf("%s cannot be measured: %w: %w", c.init, err, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be measured: %w", c.init, err)
	}
	stats, err := typeurl.MarshalAnyToProto(metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", c.init, err)
	}
	return &taskAPI.StatsResponse{Stats: stats}, nil
}

// Update sets new limits, all of them or none. The annotations that CRI sends
// along are the pod's own and mean nothing here.
func (s *wasm) Update(_ context.Context, r *taskAPI.UpdateTaskRequest) (*emptypb.Empty, error) {
	c, err := s.container(r.ID)
	if err != nil {
		return nil, err
	}
	// Whatever the type's URL says, a runtime for Linux is sent this as JSON.
	var resources specs.LinuxResources
	if err := json.Unmarshal(r.Resources.GetValue(), &resources); err != nil {
		return nil, fmt.Errorf("%s: the resources of an update must be LinuxResources of the runtime spec as JSON: %w: %w", c.init, err, errdefs.ErrInvalidArgument)
	}
	c.mu.Lock()
	if !c.init.state.alive() {
		defer c.mu.Unlock()
		return nil, c.init.refuse("updated")
	}
	c.mu.Unlock()
	if err := c.group.Update(&resources); err != nil {
		return nil, fmt.Errorf("%s: %w", c.init, err)
	}
	return &emptypb.Empty{}, nil
}
