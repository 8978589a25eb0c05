// Package linux runs the Linux containers of a pod: its pause container, init
// containers, sidecars and debug containers. They are containerd's own runc
// task service's, inside this shim, so that they behave as under runc.
//
// That service is outside what containerd promises to keep (its packages are
// those of a command), so its version is pinned by go.mod and nothing but this
// package knows of it.
package linux

import (
	"context"
	"fmt"
	"os/exec"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Tasks serves the calls of the Task API for Linux containers. Its Shutdown does
// not end the shim, which has other containers too.
type Tasks struct {
	taskAPI.TTRPCTaskService
	ending ending
	events publisher
}

// New starts the service. ctx carries the namespace and the logger and lasts as
// long as the shim. Events are given to send, in their order; Close is to be
// called at the end.
//
// The service learns of the exits of its processes from containerd's reaper, as
// all of the shim does.
func New(ctx context.Context, send func(event any)) (*Tasks, error) {
	t := &Tasks{ending: make(ending), events: publisher{send: send, closed: make(chan struct{})}}
	var err error
	if t.TTRPCTaskService, err = task.NewTaskService(ctx, t.events, t.ending); err != nil {
		return nil, fmt.Errorf("containerd's service for Linux containers: %w", err)
	}
	return t, nil
}

// Create makes a Linux container, in a scope of systemd's where systemd says so.
// Options of runc's own kind are passed on as they are; others are not known to
// the service.
func (t *Tasks) Create(ctx context.Context, r *taskAPI.CreateTaskRequest, systemd bool) (*taskAPI.CreateTaskResponse, error) {
	options := &runcoptions.Options{}
	if r.Options != nil && r.Options.MessageIs(options) {
		if err := proto.Unmarshal(r.Options.GetValue(), options); err != nil {
			return nil, fmt.Errorf("container %q: runtime options: %w: %w", r.ID, err, errdefs.ErrInvalidArgument)
		}
	}
	options.SystemdCgroup = options.SystemdCgroup || systemd
	program := options.BinaryName
	if program == "" {
		program = runc.DefaultCommand
	}
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("container %q is a Linux container, and the program that runs those is not there: %w; "+
			"install runc where containerd's PATH leads: %w", r.ID, err, errdefs.ErrFailedPrecondition)
	}
	request := proto.CloneOf(r)
	var err error
	// With a type's URL that has no authority, as the service wants it.
	if request.Options, err = typeurl.MarshalAnyToProto(options); err != nil {
		return nil, fmt.Errorf("container %q: runtime options: %w", r.ID, err)
	}
	return t.TTRPCTaskService.Create(ctx, request)
}

// Native makes of an error of the service's, which come as statuses, one of
// errdefs with the same text. Others stay as they are.
func Native(err error) error {
	if _, ok := status.FromError(err); ok {
		return errgrpc.ToNative(err)
	}
	return err
}

// Close returns once all events have been given away, or ctx ends. There must be
// no container left.
func (t *Tasks) Close(ctx context.Context) error {
	close(t.ending)
	select {
	case <-t.events.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("events of Linux containers: %w", context.Cause(ctx))
	}
}

// ending is the shutdown service of the service, which thinks that the shim is
// its own. Its callbacks would close what goes with the process, and remove the
// shim's socket, which may be another shim's by then.
type ending chan struct{}

func (ending) Shutdown()                                    {}
func (ending) RegisterCallback(func(context.Context) error) {}
func (e ending) Done() <-chan struct{}                      { return e }
func (ending) Err() error                                   { return nil }

// publisher takes the service's events into the shim's own queue.
type publisher struct {
	send   func(event any)
	closed chan struct{}
}

func (p publisher) Publish(_ context.Context, _ string, event events.Event) error {
	p.send(event)
	return nil
}

func (p publisher) Close() error {
	close(p.closed)
	return nil
}
