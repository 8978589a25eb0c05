package task

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	runcOptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/typeurl/v2"
)

// State describes a process.
func (s *wasm) State(_ context.Context, r *taskAPI.StateRequest) (*taskAPI.StateResponse, error) {
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
		Status: p.status(),

		Stdin:    p.streams.stdin,
		Stdout:   p.streams.stdout,
		Stderr:   p.streams.stderr,
		Terminal: p.streams.terminal,
	}
	var exitedAt time.Time // zero, as from runc's shim, for one that lives
	if !p.state.alive() {
		response.ExitStatus, exitedAt = p.exitStatus, p.exitedAt
	}
	response.ExitedAt = protobuf.ToTimestamp(exitedAt)
	return response, nil
}

// status is the state as containerd knows it. What is frozen is the container,
// with all its processes. The lock is held.
func (p *process) status() task.Status {
	switch first := p.container.init.state.status(); first {
	case task.Status_PAUSING, task.Status_PAUSED:
		if p.state == running {
			return first
		}
	}
	return p.state.status()
}

// Wait blocks until a process has ended.
func (s *wasm) Wait(ctx context.Context, r *taskAPI.WaitRequest) (*taskAPI.WaitResponse, error) {
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
func (s *wasm) Connect(_ context.Context, r *taskAPI.ConnectRequest) (*taskAPI.ConnectResponse, error) {
	response := &taskAPI.ConnectResponse{ShimPid: uint32(os.Getpid())}
	if c, err := s.container(r.ID); err == nil {
		response.TaskPid = uint32(c.init.pid)
	}
	return response, nil
}

// Pids lists the processes of a container that has not ended. The first process
// is always among them: a daemon that comes back takes a shim whose container
// has none for a leftover, and removes it.
func (s *wasm) Pids(_ context.Context, r *taskAPI.PidsRequest) (*taskAPI.PidsResponse, error) {
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
		info := &task.ProcessInfo{Pid: uint32(pid)}
		if id := c.execID(pid); id != "" {
			if info.Info, err = typeurl.MarshalAnyToProto(&runcOptions.ProcessDetails{ExecID: id}); err != nil {
				return nil, fmt.Errorf("%s: process %d: %w", c.init, pid, err)
			}
		}
		response.Processes = append(response.Processes, info)
	}
	return response, nil
}

// execID returns the id of the running process that Exec has added and whose
// pid that is; "" if there is none.
func (c *container) execID(pid int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, p := range c.others {
		if p.pid == pid && p.state == running {
			return id
		}
	}
	return ""
}
