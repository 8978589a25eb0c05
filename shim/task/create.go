package task

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/log"
)

// killTimeout is how long a killed process may take to be gone. Death is quick
// unless the kernel holds the process in an uninterruptible call.
const killTimeout = 10 * time.Second

// Create makes a container whose process is blocked with its module compiled;
// everything that can fail fails here. After an error nothing of the container
// is left.
func (s *service) Create(ctx context.Context, r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskResponse, error) {
	if err := s.reserve(r.ID); err != nil {
		return nil, err
	}
	c := &container{id: r.ID, bundle: r.Bundle, log: log.G(ctx).WithField("container", r.ID)}
	exited, err := s.create(ctx, c, r)
	if err != nil {
		c.undoCreate(exited)
		s.unreserve(r.ID)
		c.log.WithError(err).Info("container not created")
		if errdefs.IsNotImplemented(err) {
			// The daemon would try again with an older API.
			return nil, fmt.Errorf("container %q: %v: %w", r.ID, err, errdefs.ErrInvalidArgument)
		}
		return nil, fmt.Errorf("container %q: %w", r.ID, err)
	}

	s.events.send(&eventsAPI.TaskCreate{
		ContainerID: r.ID,
		Bundle:      r.Bundle,
		Rootfs:      r.Rootfs,
		IO:          &eventsAPI.TaskIO{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal},
		Checkpoint:  r.Checkpoint,
		Pid:         uint32(c.init.pid),
	})
	s.watchOOM(c)
	s.mu.Lock()
	s.containers[r.ID] = c
	s.mu.Unlock()
	c.log.WithField("pid", c.init.pid).Info("created")
	go s.supervise(c.init, exited)
	return &taskAPI.CreateTaskResponse{Pid: uint32(c.init.pid)}, nil
}

// create fills c in. The channel is nil as long as no process was started; it is
// returned with an error, too, for the process may still be dying then.
func (s *service) create(ctx context.Context, c *container, r *taskAPI.CreateTaskRequest) (exited <-chan runc.Exit, err error) {
	if r.Checkpoint != "" {
		return nil, fmt.Errorf("a WebAssembly container cannot be restored from a checkpoint: %w", errdefs.ErrInvalidArgument)
	}
	if r.Terminal {
		return nil, fmt.Errorf("a terminal is not supported; create the container without one: %w", errdefs.ErrInvalidArgument)
	}
	if c.options, err = options.FromAny(r.Options); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	if c.spec, err = readSpec(c.bundle); err != nil {
		return nil, err
	}
	c.log = c.log.WithFields(podFields(c.spec))
	module, err := oci.Resolve(c.spec)
	if err != nil {
		return nil, err
	}
	c.log = c.log.WithField("module", module.Args[0])
	cfg := sandbox.Config{
		ID:     c.id,
		Spec:   c.spec,
		Rootfs: rootfsPath(c.bundle, c.spec),
		Module: sandbox.Module{Paths: module.Paths, Function: module.Function, Args: module.Args},
	}

	if len(r.Rootfs) > 0 {
		c.mounted = true
		if err := mountRootfs(c.bundle, r.Rootfs); err != nil {
			return nil, err
		}
	}
	group := cgroups.Config{ID: c.id, Systemd: c.options.SystemdCgroup}
	if c.spec.Linux != nil {
		group.Path, group.Resources = c.spec.Linux.CgroupsPath, c.spec.Linux.Resources
	}
	if c.group, err = s.backend.newGroup(group); err != nil {
		return nil, err
	}
	if err := c.persist(); err != nil {
		return nil, err
	}
	if cfg.CgroupDir, err = c.group.Dir(); err != nil {
		return nil, err
	}
	if cfg.CgroupDir != nil {
		defer cfg.CgroupDir.Close()
	}
	c.init = &process{container: c, ended: make(chan struct{})}
	if c.init.stdio, err = openStdio(r.Stdin, r.Stdout, r.Stderr); err != nil {
		return nil, err
	}
	cfg.Stdin, cfg.Stdout, cfg.Stderr = c.init.stdio.theirs()
	if exited, err = s.launch(ctx, c, cfg); err != nil {
		return exited, err
	}
	return exited, c.persist()
}

// launch starts the container's first process. Its exit arrives on the channel,
// which is nil where no process came to be.
func (s *service) launch(ctx context.Context, c *container, cfg sandbox.Config) (exited <-chan runc.Exit, err error) {
	launch := s.exits.begin()
	defer launch.end()
	cfg.Joined = func(pid int) error {
		c.init.pid = pid
		exited = launch.claim(pid)
		if err := c.group.Add(pid); err != nil {
			return err
		}
		return c.adjustOOMScore(pid)
	}
	c.init.guest, err = s.backend.launch(ctx, cfg)
	c.init.stdio.handedOver()
	if err == nil {
		return exited, nil
	}
	c.init.guest = nil
	if errors.Is(err, sandbox.ErrEnded) {
		err = c.explainEnd(exited, err)
	}
	return exited, err
}

// explainEnd says why the process ended on its own while it loaded the module.
func (c *container) explainEnd(exited <-chan runc.Exit, err error) error {
	if kills, oomErr := c.group.OOMKills(); oomErr == nil && kills > 0 {
		limit := "its memory limit"
		if m := memoryLimit(c.spec); m > 0 {
			limit = fmt.Sprintf("its memory limit of %d bytes (linux.resources.memory.limit)", m)
		}
		return fmt.Errorf("out of memory: compiling the module took more than %s; raise it", limit)
	}
	select {
	case exit := <-exited:
		if sig := syscall.Signal(exit.Status - 128); exit.Status > 128 {
			return fmt.Errorf("%w: killed by signal %d (%s)", err, sig, sig)
		}
		return fmt.Errorf("%w: exit code %d", err, exit.Status)
	case <-time.After(killTimeout):
		return err
	}
}

// undoCreate gives back what a failed creation has taken, once its process, if
// there was one, is gone.
func (c *container) undoCreate(exited <-chan runc.Exit) {
	if c.init != nil && c.init.guest != nil {
		if err := c.init.guest.Signal(syscall.SIGKILL); err != nil && !ended(err) {
			c.log.WithError(err).Warn("process of a failed creation not killed")
		}
	}
	if exited != nil {
		select {
		case <-exited:
		case <-time.After(killTimeout):
			c.log.WithField("pid", c.init.pid).Warn("process of a failed creation does not end")
		}
	}
	if err := c.release(); err != nil {
		c.log.WithError(err).Warn("failed creation not undone in full")
		return // the bundle's state tells the shim's delete what is left
	}
	if err := bundle.Remove(c.bundle); err != nil {
		c.log.WithError(err).Warn("state of a failed creation not removed from its bundle")
	}
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
