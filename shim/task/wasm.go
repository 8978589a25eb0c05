package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// wasm has the containers that run WebAssembly modules: each is a cgroup with one
// blocked, then running, sandbox process. It is the calls' service for them.
type wasm struct {
	ctx     context.Context
	options options.Options // those that the shim was started with
	backend backend
	exits   *exits
	events  *events
	// streaming has the streams that come over the Streaming API.
	streaming *streaming
	// images is where modules that are layers come from; nil where containerd's
	// address is not known.
	images *oci.Images

	// mu guards what follows and is never held across work that can take time:
	// a daemon that has come back asks about every container within seconds.
	mu sync.Mutex
	// containers by id, once they are created.
	containers map[string]*container
}

var _ tasks = (*wasm)(nil)

func newWasm(ctx context.Context, o options.Options, e *events, b backend, reaped <-chan runc.Exit) *wasm {
	w := &wasm{
		ctx:        ctx,
		options:    o,
		backend:    b,
		exits:      newExits(),
		events:     e,
		streaming:  newStreaming(),
		containers: make(map[string]*container),
	}
	go func() {
		for exit := range reaped {
			w.exits.deliver(exit)
		}
	}()
	return w
}

// container returns the container of that id. One that is still being created
// is not found: nobody has been told that it exists.
func (s *wasm) container(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("container %q: %w", id, errdefs.ErrNotFound)
}

// process returns a process of a container; an empty exec id is its first.
func (s *wasm) process(id, execID string) (*container, *process, error) {
	c, err := s.container(id)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.process(execID)
	return c, p, err
}

// backend is what containers are made of.
type backend interface {
	newGroup(cgroups.Config) (group, error)
	// launch has the new guest join a living one's container where inside is not nil.
	launch(ctx context.Context, cfg sandbox.Config, inside guest) (guest, error)
}

// group is *cgroups.Group.
type group interface {
	Dir() (*os.File, error)
	Add(pid int) error
	Join(pid int) error
	Update(*specs.LinuxResources) error
	Freeze() error
	Thaw() error
	Pids() ([]int, error)
	Kill() error
	Metrics() (any, error)
	WatchOOM(ctx context.Context, f func()) error
	OOMKills() (uint64, error)
	Delete() error
}

// guest is *sandbox.Process.
type guest interface {
	Pid() int
	Start() error
	Signal(syscall.Signal) error
	Close() error
}

// kernel is the backend of every shim; tests have another.
type kernel struct{}

func (kernel) newGroup(cfg cgroups.Config) (group, error) {
	g, err := cgroups.New(cfg)
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (kernel) launch(ctx context.Context, cfg sandbox.Config, inside guest) (guest, error) {
	if inside != nil {
		cfg.Inside = inside.(*sandbox.Process)
	}
	p, err := sandbox.Create(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// ended reports whether err says that a process is no more.
func ended(err error) bool {
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}
