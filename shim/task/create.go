package task

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// linuxContainer is the error that says that a container is none of ours.
type linuxContainer struct {
	systemd bool // its cgroup is a scope of systemd's
}

func (*linuxContainer) Error() string { return "the container runs a Linux program" }

// Create makes a container whose process is blocked with its module compiled;
// everything that can fail fails here. After an error nothing of the container
// is left. The error is a *linuxContainer for a container that runs no module.
func (s *wasm) Create(ctx context.Context, r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskResponse, error) {
	c := &container{id: r.ID, bundle: r.Bundle, log: log.G(ctx).WithField("container", r.ID)}
	made, err := s.create(ctx, c, r)
	if err == nil && ctx.Err() != nil {
		// Nobody hears that it exists. A daemon that has come back meanwhile was
		// told that it does not, and will not ask again.
		err = fmt.Errorf("the caller has gone: %w", context.Cause(ctx))
	}
	if err != nil {
		c.undoCreate(made)
		if linux, ok := errors.AsType[*linuxContainer](err); ok {
			return nil, linux
		}
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
	go s.supervise(c.init, made.exited)
	return &taskAPI.CreateTaskResponse{Pid: uint32(c.init.pid)}, nil
}

// create fills c in. Of a process that has come to be it tells with an error, too.
func (s *wasm) create(ctx context.Context, c *container, r *taskAPI.CreateTaskRequest) (l launched, err error) {
	if c.options, err = s.options.Override(r.Options); err != nil {
		return l, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	if c.spec, err = readSpec(c.bundle); err != nil {
		return l, err
	}
	c.log = c.log.WithFields(podFields(c.spec))
	c.init = newProcess(c, "", c.spec, streams{r.Stdin, r.Stdout, r.Stderr, r.Terminal})
	cfg := sandbox.Config{Rootfs: rootfsPath(c.bundle, c.spec)}
	source := oci.Container{ID: c.id, Spec: c.spec, Annotations: c.options.Annotations, Images: s.images}
	if c.module, err = source.Module(ctx); err != nil {
		return l, err
	}
	if len(r.Rootfs) > 0 {
		c.mounted = true
		if err := mountRootfs(c.bundle, r.Rootfs); err != nil {
			return l, err
		}
		c.layers = overlayLayers(r.Rootfs)
	}
	if c.module.IsLinux(cfg.Rootfs, c.spec) {
		if c.options.WasmOnly && !oci.IsSandbox(c.spec) {
			return l, fmt.Errorf("%s is a Linux program, which the administrator does not allow under this runtime (WasmOnly = true in its options): %w",
				strconv.Quote(c.module.Args[0]), errdefs.ErrPermissionDenied)
		}
		scope := c.spec.Linux != nil && cgroups.IsScope(c.spec.Linux.CgroupsPath)
		return l, &linuxContainer{systemd: c.options.SystemdCgroup || scope}
	}
	c.log = c.log.WithField("module", c.module.Args[0])
	if r.Checkpoint != "" {
		return l, fmt.Errorf("a WebAssembly container cannot be restored from a checkpoint: %w", errdefs.ErrInvalidArgument)
	}
	if r.Terminal != c.spec.Process.Terminal {
		return l, fmt.Errorf("process.terminal is %v, but the request to create the container says %v: %w", c.spec.Process.Terminal, r.Terminal, errdefs.ErrInvalidArgument)
	}
	group := cgroups.Config{ID: c.id, Systemd: c.options.SystemdCgroup}
	if c.spec.Linux != nil {
		group.Path, group.Resources = c.spec.Linux.CgroupsPath, c.spec.Linux.Resources
	}
	if c.group, err = s.backend.newGroup(group); err != nil {
		return l, err
	}
	if err := c.persist(); err != nil {
		return l, err
	}
	if cfg.CgroupDir, err = c.group.Dir(); err != nil {
		return l, err
	}
	if cfg.CgroupDir != nil {
		defer cfg.CgroupDir.Close()
	}
	if c.init.stdio, err = s.openStdio(ctx, c.init); err != nil {
		return l, err
	}
	l, err = s.launch(ctx, c.init, c.module, c.init.stdio, cfg, c.group.Add)
	if err != nil {
		return l, err
	}
	c.init.guest, c.init.pid = l.guest, l.pid
	return l, c.persist()
}

// undoCreate gives back what a failed creation has taken, once its process, if
// there was one, is gone.
func (c *container) undoCreate(l launched) {
	l.abandon(c.log)
	if err := c.release(); err != nil {
		c.log.WithError(err).Warn("failed creation not undone in full")
		return // the bundle's state tells the shim's delete what is left
	}
	if err := bundle.Remove(c.bundle); err != nil {
		c.log.WithError(err).Warn("state of a failed creation not removed from its bundle")
	}
}
