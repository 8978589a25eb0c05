// Package cgroups holds the control group of one container: it makes it,
// limits it, freezes it, measures it, watches it for out-of-memory kills and
// removes it, on cgroup v1, v2 and the hybrid of both, by way of cgroupfs or of
// systemd.
//
// Control is github.com/opencontainers/cgroups, metrics are
// github.com/containerd/cgroups: the same split as runc and its shim have, so
// that limits land and numbers read as they do for a runc container.
package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	control "github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // lets the managers set device rules
	"github.com/opencontainers/cgroups/manager"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Config says which control group a container has.
type Config struct {
	// ID is the container's id. It names the group where Path is empty.
	ID string
	// Path is linux.cgroupsPath of the runtime spec: a path below the root of
	// every hierarchy (a relative one is taken from the root too), or three parts
	// slice:prefix:name, which make the systemd scope prefix-name.scope in slice.
	// Empty, it is /wasm-ID, or wasm-ID.scope in system.slice with Systemd.
	Path string
	// Systemd makes the systemd driver be used whatever Path looks like.
	Systemd bool
	// Resources is linux.resources of the runtime spec; nil sets no limit.
	// Devices other than those it allows and the usual ones (null, zero, full,
	// random, urandom, tty, console, ptmx, pts) are denied either way.
	Resources *specs.LinuxResources
}

// Group is the control group of one container. Its methods may be called
// concurrently. Any process may make a Group of the same Config and go on with
// what another began.
type Group struct {
	name    string // as errors call it: the path below the hierarchies' roots
	v2      bool
	systemd bool
	// paths has the group's directory for each v1 controller, or under "" for v2.
	paths    map[string]string
	settings []setting            // those that Config.Resources asks for
	oomKills atomic.Uint64        // as last seen
	none     atomic.Pointer[none] // nil where there is a group

	mu      sync.Mutex // guards what follows, and the manager, whose own locks leave holes
	config  *control.Cgroup
	manager control.Manager
	foreign bool // the group was somebody else's: never kill or remove it

	v1Metrics cgroup1.Cgroup
}

// New describes the group of cfg and makes nothing. It fails where the path
// cannot be one or a resource cannot be honoured by the mounted cgroup version;
// the error then names the field of the spec.
func New(cfg Config) (*Group, error) {
	v2 := control.IsCgroup2UnifiedMode()
	config, err := locate(cfg)
	if err != nil {
		return nil, err
	}
	resources := withoutDefaults(cfg.Resources)
	settings, err := asked(resources, v2)
	if err != nil {
		return nil, err
	}
	if config.Resources, err = convert(resources, v2); err != nil {
		return nil, err
	}
	if config.Devices, err = deviceRules(resources.Devices); err != nil {
		return nil, err
	}
	m, err := manager.New(config)
	if err != nil {
		return nil, fmt.Errorf("linux.cgroupsPath %q: %w", cfg.Path, err)
	}
	g := &Group{
		v2:       v2,
		systemd:  config.Systemd,
		paths:    maps.Clone(m.GetPaths()),
		settings: settings,
		config:   config,
		manager:  m,
	}
	if g.name, err = below(g.paths, v2); err != nil {
		return nil, err
	}
	return g, nil
}

// Dir makes the group, without limits yet, and opens its directory for
// CLONE_INTO_CGROUP; the caller closes it. It returns nil and no error where a
// process cannot be born in its group: on cgroup v1, and with systemd, which
// makes a scope only around a living process, and for a container that goes
// without a group (see Add). Call Add for the child all the same.
func (g *Group) Dir() (*os.File, error) {
	if !g.v2 || g.systemd {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.claim(0); err != nil {
		return nil, err
	}
	if err := g.manager.Apply(-1); err != nil {
		if undelegated(err) {
			return nil, g.goWithout(err)
		}
		return nil, fmt.Errorf("control group %s cannot be made: %w", g.name, err)
	}
	return os.Open(g.paths[""])
}

// Add makes the group if need be, puts process pid into it and sets the limits.
// The process should be blocked until Add returns, or it runs unlimited for a
// while. The group must hold no other process. On failure the group may exist in
// part: Kill and Delete undo it.
//
// A container without limits whose group cannot be made, because containerd is in
// a user namespace and nothing is delegated to it, goes without: its processes are
// known all the same, and what takes a group is ErrNoGroup.
func (g *Group) Add(pid int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.none.Load(); n != nil {
		return n.add(pid)
	}
	if err := g.claim(pid); err != nil {
		return err
	}
	if err := g.manager.Apply(pid); err != nil {
		if undelegated(err) && !g.exists() {
			if err := g.goWithout(err); err != nil {
				return err
			}
			return g.none.Load().add(pid)
		}
		return g.explain(g.settings, fmt.Errorf("process %d cannot enter: %w", pid, err))
	}
	if err := g.present(g.settings); err != nil {
		return err
	}
	if err := g.set(g.config.Resources); err != nil {
		return g.explain(g.settings, err)
	}
	return nil
}

// Join puts process pid into the group, which Add has made, beside the processes
// that are there. The limits, which are the group's, stay as they are.
func (g *Group) Join(pid int) error {
	if n := g.none.Load(); n != nil {
		return n.add(pid)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.manager.AddPid("", pid); err != nil {
		return fmt.Errorf("control group %s: process %d cannot enter: %w", g.name, pid, err)
	}
	return nil
}

// claim fails where the group holds processes other than pid. Two containers in
// one group would freeze, limit and kill each other.
func (g *Group) claim(pid int) error {
	pids, err := g.Pids()
	if err != nil {
		return err
	}
	for _, p := range pids {
		if p != pid {
			g.foreign = true
			return fmt.Errorf("control group %s already holds process %d, and a container must have its group to itself: end that process or give another linux.cgroupsPath", g.name, p)
		}
	}
	return nil
}

// Delete removes the group and the groups below it. It waits a second for
// processes that are ending, and fails where some remain. A group that is not
// there is no error. The group's parents stay, whoever made them.
func (g *Group) Delete() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.foreign {
		return nil
	}
	// Looked at beforehand: the managers wait for each hierarchy in turn, and
	// systemd for much longer.
	for wait := time.Millisecond; ; wait *= 2 {
		pids, err := g.Pids()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
		if wait > time.Second/2 {
			return fmt.Errorf("control group %s cannot be removed: it still holds processes %v; kill them first", g.name, pids)
		}
		time.Sleep(wait)
	}
	if err := g.manager.Destroy(); err != nil {
		return fmt.Errorf("control group %s cannot be removed: %w", g.name, err)
	}
	return nil
}

// dir returns the group's directory for a controller, or "" where the hierarchy
// has none.
func (g *Group) dir(controller string) string {
	if g.v2 {
		return g.paths[""]
	}
	return g.paths[controller]
}

// main is the directory that tells whether the group exists and who is in it.
func (g *Group) main() string { return g.dir("devices") }

func (g *Group) exists() bool {
	_, err := os.Stat(g.main())
	return !errors.Is(err, fs.ErrNotExist)
}
