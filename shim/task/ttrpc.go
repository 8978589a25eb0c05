package task

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/pod"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	streamingAPI "github.com/containerd/containerd/api/services/streaming/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
)

// RegisterTTRPC serves the Task API in both its versions. They differ in the
// service's name alone: api/runtime/task/v2/shim.proto and v3/shim.proto have
// the same messages, and no message's name goes over the wire. So one table of
// methods, of version 3's types, answers both, but for Pids. Beside it are the
// Streaming API, for standard streams that are asked for by its URIs, and the
// Sandbox API.
func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	v2, v3 := s.methods(), s.methods()
	v2["Pids"] = method(s.pidsOfAnyState)
	server.RegisterService("containerd.task.v2.Task", &ttrpc.ServiceDesc{Methods: v2})
	server.RegisterService("containerd.task.v3.Task", &ttrpc.ServiceDesc{Methods: v3})
	streamingAPI.RegisterTTRPCStreamingService(server, s.wasm.streaming)
	server.RegisterService("containerd.runtime.sandbox.v1.Sandbox", &ttrpc.ServiceDesc{Methods: podMethods(s.pod)})
	return nil
}

// pidsOfAnyState is Pids for the daemons that speak version 2 of the API. Those
// from 1.7 to 2.2 ask for it when they come back, and remove a shim that lists
// no process for whatever reason (loadShims of their runtime/v2/shim_load.go),
// so that the exit status of a container that ended meanwhile would be lost. They
// are told the pid that the first process had.
func (s *service) pidsOfAnyState(ctx context.Context, r *taskAPI.PidsRequest) (*taskAPI.PidsResponse, error) {
	response, err := s.Pids(ctx, r)
	if err == nil || errdefs.IsNotFound(err) {
		return response, err
	}
	known, err := s.Connect(ctx, &taskAPI.ConnectRequest{ID: r.ID})
	if err != nil {
		return nil, err
	}
	return &taskAPI.PidsResponse{Processes: []*task.ProcessInfo{{Pid: known.TaskPid}}}, nil
}

func (s *service) methods() map[string]ttrpc.Method {
	return map[string]ttrpc.Method{
		"Create":     method(s.Create),
		"Start":      method(s.Start),
		"State":      method(s.State),
		"Wait":       method(s.Wait),
		"Kill":       method(s.Kill),
		"Delete":     method(s.Delete),
		"Connect":    method(s.Connect),
		"Pids":       method(s.Pids),
		"Stats":      method(s.Stats),
		"Pause":      method(s.Pause),
		"Resume":     method(s.Resume),
		"Update":     method(s.Update),
		"CloseIO":    method(s.CloseIO),
		"ResizePty":  method(s.ResizePty),
		"Exec":       method(s.Exec),
		"Checkpoint": method(s.Checkpoint),
		"Shutdown":   method(s.Shutdown),
	}
}

func podMethods(s *pod.Service) map[string]ttrpc.Method {
	return map[string]ttrpc.Method{
		"CreateSandbox":   method(s.CreateSandbox),
		"StartSandbox":    method(s.StartSandbox),
		"Platform":        method(s.Platform),
		"StopSandbox":     method(s.StopSandbox),
		"WaitSandbox":     method(s.WaitSandbox),
		"SandboxStatus":   method(s.SandboxStatus),
		"PingSandbox":     method(s.PingSandbox),
		"ShutdownSandbox": method(s.ShutdownSandbox),
		"SandboxMetrics":  method(s.SandboxMetrics),
		"UpdateSandbox":   method(s.UpdateSandbox),
	}
}

// method makes a ttrpc method of a call. A panic in it is answered as an
// internal error and does not take the pod's other containers down.
func method[Request, Response any](call func(context.Context, *Request) (*Response, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(any) error) (_ any, err error) {
		request := new(Request)
		if err := unmarshal(request); err != nil {
			return nil, err
		}
		defer func() {
			if cause := recover(); cause != nil {
				log.G(ctx).WithField("stack", string(debug.Stack())).Errorf("panic in a call: %v", cause)
				err = toWire(fmt.Errorf("the shim failed with %v; its log has the stack: %w", cause, errdefs.ErrInternal))
			}
		}()
		response, err := call(ctx, request)
		if err != nil {
			return nil, toWire(err)
		}
		return response, nil
	}
}

// toWire makes a status of an error: its class and its text. The errors that it
// is made of would go along as details, and clients print each as a line of its
// own, which says once more what the text has said.
func toWire(err error) error {
	return errgrpc.ToGRPC(plainError{err.Error(), errdefs.Resolve(err)})
}

type plainError struct {
	text  string
	class error // of errdefs, or of a context
}

func (e plainError) Error() string { return e.text }
func (e plainError) Unwrap() error { return e.class }
