package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/emptypb"
)

// exitNotRun is the exit code of a process that was added and could not be
// started: the one that shells give for a command that is not there.
const exitNotRun = 127

// Exec adds a process to a container. It is made when it is started, and what
// can fail fails then.
func (s *wasm) Exec(_ context.Context, r *taskAPI.ExecProcessRequest) (*emptypb.Empty, error) {
	c, err := s.container(r.ID)
	if err != nil {
		return nil, err
	}
	if r.ExecID == "" {
		return nil, fmt.Errorf("%s: a further process needs an id: %w", c.init, errdefs.ErrInvalidArgument)
	}
	// Whatever the type's URL says, a runtime for Linux is sent this as JSON.
	var spec specs.Process
	if err := json.Unmarshal(r.Spec.GetValue(), &spec); err != nil {
		return nil, fmt.Errorf("process %q of container %q: the spec must be a Process of the runtime spec as JSON: %w: %w", r.ExecID, c.id, err, errdefs.ErrInvalidArgument)
	}
	spec.Terminal = r.Terminal
	p := newProcess(c, r.ExecID, withProcess(c.spec, &spec), streams{r.Stdin, r.Stdout, r.Stderr, r.Terminal})

	c.mu.Lock()
	defer c.mu.Unlock()
	// Events tell a container's first process by its having the container's id.
	if c.others[r.ExecID] != nil || r.ExecID == c.id {
		return nil, fmt.Errorf("%s: %w", p, errdefs.ErrAlreadyExists)
	}
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.others == nil {
		c.others = make(map[string]*process)
	}
	c.others[r.ExecID] = p
	s.events.send(&eventsAPI.TaskExecAdded{ContainerID: c.id, ExecID: r.ExecID})
	return &emptypb.Empty{}, nil
}

// startOther makes a process that Exec has added, and lets it run. Once that has
// failed, the process can only be deleted.
func (s *wasm) startOther(ctx context.Context, p *process) (*taskAPI.StartResponse, error) {
	c := p.container
	c.mu.Lock()
	err := c.usable()
	if err == nil {
		err = p.enter(starting, "started")
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}

	io, made, err := s.makeOther(ctx, p)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("the caller has gone: %w", context.Cause(ctx)) // so nobody hears that it runs
	}
	if err == nil {
		err = s.runOther(p, io, made)
	}
	if err == nil {
		go s.supervise(p, made.exited)
		return &taskAPI.StartResponse{Pid: uint32(made.pid)}, nil
	}
	p.log().WithError(err).Info("not started")
	made.abandon(p.log())
	drained, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	io.close(drained)

	c.mu.Lock()
	defer c.mu.Unlock()
	p.exitStatus, p.exitedAt = exitNotRun, time.Now()
	if !c.init.exitedAt.IsZero() && !errors.Is(err, errContainerEnded) {
		err = fmt.Errorf("%w: %w", errContainerEnded, err)
	}
	err = fmt.Errorf("%s cannot be started: %w", p, err)
	if enterErr := p.enter(stopped, "ended"); enterErr != nil {
		return nil, errors.Join(err, enterErr)
	}
	close(p.ended)
	return nil, err
}

// makeOther makes the process, blocked and with its module loaded.
func (s *wasm) makeOther(ctx context.Context, p *process) (io *stdio, made launched, err error) {
	c := p.container
	module, err := c.module.Another(p.spec)
	if err != nil {
		return nil, made, err
	}
	if io, err = s.openStdio(ctx, p); err != nil {
		return nil, made, err
	}
	made, err = s.launch(ctx, p, module, io, sandbox.Config{}, func(pid int) error {
		if err := c.group.Join(pid); err != nil {
			return err
		}
		// Who kills the processes in the cgroup after the container's end has
		// seen this one, or has the end known here.
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.init.exitedAt.IsZero() {
			return errContainerEnded
		}
		return nil
	})
	// As the sandbox process begins what it has to say of a module.
	if err != nil && strings.HasPrefix(err.Error(), "module ") {
		err = fmt.Errorf("%w; exec runs a WebAssembly module of the container's root file system, such as /tool.wasm", err)
	}
	return io, made, err
}

var errContainerEnded = fmt.Errorf("its container has ended: %w", errdefs.ErrFailedPrecondition)

// runOther lets the process run.
func (s *wasm) runOther(p *process, io *stdio, made launched) error {
	c := p.container
	// With the lock held, as in the start of a first process.
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.init.exitedAt.IsZero() {
		return errContainerEnded // its end is told of last
	}
	if p.size != nil {
		if err := io.resize(*p.size); err != nil {
			return err
		}
	}
	if p.noInput {
		io.closeStdin()
	}
	if err := made.guest.Start(); err != nil {
		return err
	}
	p.guest, p.pid, p.stdio = made.guest, made.pid, io
	if err := p.enter(running, "started"); err != nil {
		return err
	}
	s.events.send(&eventsAPI.TaskExecStarted{ContainerID: c.id, ExecID: p.execID, Pid: uint32(p.pid)})
	p.log().WithField("pid", p.pid).Info("started")
	return nil
}
