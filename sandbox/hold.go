package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	specs "github.com/opencontainers/runtime-spec/specs-go"
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
func Hold(ctx context.Context, cfg PodConfig) (*Process, error) {
	if err := jail.ValidatePod(cfg.Spec); err != nil {
		return nil, err
	}
	as := Config{Spec: cfg.Spec, CgroupDir: cfg.CgroupDir, Joined: cfg.Joined}
	return begin(ctx, &as, wire.Holder, func(p *Process) error {
		var ready wire.Report
		err := wire.Send(p.control, wire.Setup{Spec: cfg.Spec})
		if err == nil {
			err = wire.Receive(p.control, &ready)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("the pod's namespaces were still being set up: %w", context.Cause(ctx))
		case err != nil:
			return socketError(err, errHolderEnded)
		case ready.Error != "":
			return errors.New(ready.Error)
		}
		return nil
	})
}

var errHolderEnded = errors.New("the process that holds the pod's namespaces ended before they were set up")
