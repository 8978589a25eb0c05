// Package task serves containerd's Task API, versions 2 and 3, for containers
// that run WebAssembly modules: every container is a cgroup with one blocked,
// then running, sandbox process.
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
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// service is the Task service of one shim. Its methods are the calls of the
// API; they return errors of errdefs, which method turns into what goes over
// the wire.
type service struct {
	ctx      context.Context
	backend  backend
	exits    *exits
	events   *events
	shutdown shutdown.Service
	// streaming has the streams that come over the Streaming API.
	streaming *streaming
	// images is where modules that are layers come from; nil where containerd's
	// address is not known.
	images *oci.Images

	// mu guards what follows and is never held across work that can take time:
	// a daemon that has come back asks about every container within seconds.
	mu sync.Mutex
	// containers by id; nil for one that is still being created.
	containers map[string]*container
	// shutdownMissed says that Shutdown has been asked for in vain since the last
	// creation began: if that fails, nobody may ask again.
	shutdownMissed bool
	// down says that the shim is about to end.
	down bool
}

var _ taskAPI.TTRPCTaskService = (*service)(nil)

// New returns the Task service and starts to forward its events to publisher,
// which it closes at shutdown once they are out. ctx carries the namespace and
// the logger. address is that of containerd's gRPC socket, empty under an engine
// that does not tell it.
//
// The service learns of the exits of its processes from containerd's reaper,
// which the shim library feeds; nobody else may wait for the shim's children.
func New(ctx context.Context, address string, publisher shim.Publisher, sd shutdown.Service) (shim.TTRPCService, error) {
	s := newService(ctx, publisher, sd, linux{}, reaper.Default.Subscribe())
	if address == "" {
		return s, nil
	}
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	if s.images, err = oci.NewImages(address, namespace); err != nil {
		return nil, err
	}
	sd.RegisterCallback(func(context.Context) error { return s.images.Close() })
	return s, nil
}

func newService(ctx context.Context, publisher shim.Publisher, sd shutdown.Service, b backend, reaped <-chan runc.Exit) *service {
	s := &service{
		ctx:        context.WithoutCancel(ctx),
		backend:    b,
		exits:      newExits(),
		shutdown:   sd,
		streaming:  newStreaming(),
		containers: make(map[string]*container),
	}
	s.events = newEvents(s.ctx, publisher)
	sd.RegisterCallback(s.events.close)
	go func() {
		for exit := range reaped {
			s.exits.deliver(exit)
		}
	}()
	return s
}

// container returns the container of that id. One that is still being created
// is not found: nobody has been told that it exists.
func (s *service) container(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("container %q: %w", id, errdefs.ErrNotFound)
}

// process returns a process of a container; an empty exec id is its first.
func (s *service) process(id, execID string) (*container, *process, error) {
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

// linux is the backend of every shim; tests have another.
type linux struct{}

func (linux) newGroup(cfg cgroups.Config) (group, error) {
	g, err := cgroups.New(cfg)
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (linux) launch(ctx context.Context, cfg sandbox.Config, inside guest) (guest, error) {
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
