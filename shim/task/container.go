package task

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// container is what a task holds: a bundle, a mounted root file system, a
// cgroup and processes. What is not guarded by mu is set before the container
// can be found by others and does not change.
type container struct {
	id      string
	bundle  string
	spec    *specs.Spec
	options options.Options
	mounted bool     // the bundle's rootfs has been mounted by us
	layers  []string // the directories of that where it is an overlay
	group   group
	init    *process
	log     *log.Entry
	oom     oomReporter
	stopOOM context.CancelFunc

	// mu guards the states of the processes and what follows. It is never held
	// across work that can take time; events are sent with it held, so that
	// their order is that of the changes.
	mu sync.Mutex
	// others are the processes that Exec has added, by their ids.
	others map[string]*process
	// killed says that the processes have been sent a SIGKILL, which a frozen
	// cgroup must be thawed for.
	killed bool
	// lastStats are the metrics at the exit of the first process.
	lastStats *anypb.Any
}

// process returns a process of the container; an empty exec id is its first.
func (c *container) process(execID string) (*process, error) {
	if execID == "" {
		return c.init, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.others[execID]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("process %q of container %q: %w", execID, c.id, errdefs.ErrNotFound)
}

// usable refuses further processes in a container whose first process is
// neither ready nor running. The lock is held.
func (c *container) usable() error {
	if s := c.init.state; s != created && s != running {
		return c.init.refuse("given a further process")
	}
	if !c.init.exitedAt.IsZero() {
		return fmt.Errorf("%s is ending: %w", c.init, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// persist writes into the bundle what the shim's delete needs, should this
// shim be no more by then.
func (c *container) persist() error {
	c.mu.Lock()
	state := bundle.State{ID: c.id, SystemdCgroup: c.options.SystemdCgroup}
	if c.spec.Linux != nil {
		state.CgroupPath = c.spec.Linux.CgroupsPath
	}
	if c.init != nil {
		state.Pid = c.init.pid
		if !c.init.exitedAt.IsZero() {
			status := c.init.exitStatus
			state.ExitStatus, state.ExitedAt = &status, c.init.exitedAt
		}
	}
	c.mu.Unlock()
	if err := bundle.Write(c.bundle, state); err != nil {
		return fmt.Errorf("the container's state could not be written to its bundle: %w", err)
	}
	return nil
}

// release gives back whatever the container holds, in the reverse order of its
// creation; no process of it is alive. It tries everything before it fails, and
// may be called again.
func (c *container) release() error {
	var errs []error
	if c.stopOOM != nil {
		c.stopOOM()
	}
	processes := c.othersIn(func(s state) bool { return s != created })
	if c.init != nil {
		processes = append(processes, c.init)
	}
	drained, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	for _, p := range processes {
		c.mu.Lock()
		io, guest := p.stdio, p.guest
		c.mu.Unlock()
		io.close(drained)
		if guest != nil {
			errs = append(errs, guest.Close())
		}
	}
	if c.group != nil {
		if err := c.group.Delete(); err != nil {
			errs = append(errs, fmt.Errorf("cgroup: %w", err))
		}
	}
	if c.mounted {
		if err := unmountRootfs(c.bundle); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// othersIn returns the added processes that are in a state for which match is true.
func (c *container) othersIn(match func(state) bool) (found []*process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.others {
		if match(p.state) {
			found = append(found, p)
		}
	}
	return found
}
