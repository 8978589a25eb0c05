package task

import (
	"context"
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/linux"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"google.golang.org/protobuf/types/known/emptypb"
)

type empty = emptypb.Empty

// route has a call answered by who has its container.
func route[Request interface{ GetID() string }, Response any](ctx context.Context, s *service, r Request, call func(tasks, context.Context, Request) (*Response, error)) (*Response, error) {
	t, err := s.of(r.GetID())
	if err != nil {
		return nil, err
	}
	response, err := call(t, ctx, r)
	if err != nil {
		return nil, linux.Native(err)
	}
	return response, nil
}

// Start lets a created process run.
func (s *service) Start(ctx context.Context, r *taskAPI.StartRequest) (*taskAPI.StartResponse, error) {
	return route(ctx, s, r, tasks.Start)
}

// State describes a process.
func (s *service) State(ctx context.Context, r *taskAPI.StateRequest) (*taskAPI.StateResponse, error) {
	return route(ctx, s, r, tasks.State)
}

// Wait blocks until a process has ended.
func (s *service) Wait(ctx context.Context, r *taskAPI.WaitRequest) (*taskAPI.WaitResponse, error) {
	return route(ctx, s, r, tasks.Wait)
}

// Kill sends a signal.
func (s *service) Kill(ctx context.Context, r *taskAPI.KillRequest) (*empty, error) {
	return route(ctx, s, r, tasks.Kill)
}

// Delete removes a container, or a process of one, that has ended.
func (s *service) Delete(ctx context.Context, r *taskAPI.DeleteRequest) (*taskAPI.DeleteResponse, error) {
	response, err := route(ctx, s, r, tasks.Delete)
	if err == nil && r.ExecID == "" {
		s.mu.Lock()
		delete(s.containers, r.ID)
		s.mu.Unlock()
	}
	return response, err
}

// Connect tells the shim's pid and that of a container or of a pod, 0 where there
// is none: a daemon that comes back asks for the pod's too.
func (s *service) Connect(ctx context.Context, r *taskAPI.ConnectRequest) (*taskAPI.ConnectResponse, error) {
	if _, err := s.of(r.ID); err != nil {
		return &taskAPI.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: uint32(s.pod.Pid(r.ID))}, nil
	}
	return route(ctx, s, r, tasks.Connect)
}

// Pids lists the processes of a container.
func (s *service) Pids(ctx context.Context, r *taskAPI.PidsRequest) (*taskAPI.PidsResponse, error) {
	return route(ctx, s, r, tasks.Pids)
}

// Stats measures a container.
func (s *service) Stats(ctx context.Context, r *taskAPI.StatsRequest) (*taskAPI.StatsResponse, error) {
	return route(ctx, s, r, tasks.Stats)
}

// Pause freezes a container.
func (s *service) Pause(ctx context.Context, r *taskAPI.PauseRequest) (*empty, error) {
	return route(ctx, s, r, tasks.Pause)
}

// Resume thaws a container.
func (s *service) Resume(ctx context.Context, r *taskAPI.ResumeRequest) (*empty, error) {
	return route(ctx, s, r, tasks.Resume)
}

// Update sets new limits.
func (s *service) Update(ctx context.Context, r *taskAPI.UpdateTaskRequest) (*empty, error) {
	return route(ctx, s, r, tasks.Update)
}

// CloseIO closes the standard input of a process.
func (s *service) CloseIO(ctx context.Context, r *taskAPI.CloseIORequest) (*empty, error) {
	return route(ctx, s, r, tasks.CloseIO)
}

// ResizePty sets the size of a terminal.
func (s *service) ResizePty(ctx context.Context, r *taskAPI.ResizePtyRequest) (*empty, error) {
	return route(ctx, s, r, tasks.ResizePty)
}

// Exec adds a process to a container.
func (s *service) Exec(ctx context.Context, r *taskAPI.ExecProcessRequest) (*empty, error) {
	return route(ctx, s, r, tasks.Exec)
}

// Checkpoint saves the state of a Linux container.
func (s *service) Checkpoint(ctx context.Context, r *taskAPI.CheckpointTaskRequest) (*empty, error) {
	return route(ctx, s, r, tasks.Checkpoint)
}
