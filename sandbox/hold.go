package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// PodConfig says which namespaces a pod has.
type PodConfig struct {
	// Spec has linux.namespaces, a mount namespace of its own among them, the
	// mappings of a user namespace, hostname and linux.sysctl; nothing else of it
	// counts.
	Spec *specs.Spec
	// CgroupDir and Joined are those of Config.
	CgroupDir *os.File
	Joined    func(pid int) error
}

// Hold starts a process that holds the namespaces of a pod for the containers to
// join, and does nothing else: it has no file, no privilege and next to no memory.
// It ends by a signal, or with this process. What Create says of its process, its
// context and its errors holds here too.
func Hold(ctx context.Context, cfg PodConfig) (_ *Process, err error) {
	if err := jail.ValidatePod(cfg.Spec); err != nil {
		return nil, err
	}
	control, remote, err := socketpair()
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	pid, pidfd, err := start(&Config{Spec: cfg.Spec, CgroupDir: cfg.CgroupDir}, wire.Holder, remote)
	remote.Close()
	if err != nil {
		control.Close()
		return nil, err
	}
	p := &Process{pid: pid, handle: newHandle(pid, pidfd), control: control}
	defer func() {
		if err != nil {
			_ = p.Signal(unix.SIGKILL)
			p.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if cfg.Joined != nil {
		if err := cfg.Joined(pid); err != nil {
			return nil, err
		}
	}
	var ready wire.Report
	if err = wire.Send(control, wire.Setup{Spec: cfg.Spec}); err == nil {
		err = wire.Receive(control, &ready)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("the pod's namespaces were still being set up: %w", context.Cause(ctx))
	case err != nil:
		return nil, socketError(err, errors.New("the process that holds the pod's namespaces ended before they were set up"))
	case ready.Error != "":
		return nil, errors.New(ready.Error)
	}
	return p, nil
}
