package task

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/protobuf"
)

// State describes a process.
func (s *service) State(_ context.Context, r *taskAPI.StateRequest) (*taskAPI.StateResponse, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	response := &taskAPI.StateResponse{
		ID:     p.eventID(),
		ExecID: p.execID,
		Bundle: c.bundle,
		Pid:    uint32(p.pid),
		Status: p.state.status(),
		Stdin:  p.stdio.stdin,
		Stdout: p.stdio.stdout,
		Stderr: p.stdio.stderr,
	}
	var exitedAt time.Time // zero, as from runc's shim, for one that lives
	if !p.state.alive() {
		response.ExitStatus, exitedAt = p.exitStatus, p.exitedAt
	}
	response.ExitedAt = protobuf.ToTimestamp(exitedAt)
	return response, nil
}

// Wait blocks until a process has ended.
func (s *service) Wait(ctx context.Context, r *taskAPI.WaitRequest) (*taskAPI.WaitResponse, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s has not ended: %w", p, context.Cause(ctx))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &taskAPI.WaitResponse{ExitStatus: p.exitStatus, ExitedAt: protobuf.ToTimestamp(p.exitedAt)}, nil
}

// Connect tells the shim's pid and that of a container, 0 where it has none.
func (s *service) Connect(_ context.Context, r *taskAPI.ConnectRequest) (*taskAPI.ConnectResponse, error) {
	response := &taskAPI.ConnectResponse{ShimPid: uint32(os.Getpid())}
	if c, err := s.container(r.ID); err == nil {
		response.TaskPid = uint32(c.init.pid)
	}
	return response, nil
}

// Pids lists the processes of a container that has not ended. The first process
// is always among them: a daemon that comes back takes a shim whose container
// has none for a leftover, and removes it.
func (s *service) Pids(_ context.Context, r *taskAPI.PidsRequest) (*taskAPI.PidsResponse, error) {
	c, err := s.container(r.ID)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if !c.init.state.alive() {
		defer c.mu.Unlock()
		return nil, c.init.refuse("asked for its processes")
	}
	c.mu.Unlock()
	pids, err := c.group.Pids()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.init, err)
	}
	if !slices.Contains(pids, c.init.pid) {
		pids = append(pids, c.init.pid)
	}
	response := &taskAPI.PidsResponse{}
	for _, pid := range pids {
		response.Processes = append(response.Processes, &task.ProcessInfo{Pid: uint32(pid)})
	}
	return response, nil
}
