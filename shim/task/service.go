// Package task serves containerd's Task API, versions 2 and 3, for the containers
// of a pod: those that run WebAssembly modules, which are this package's, and
// those that run Linux programs, which are package linux's.
package task

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/linux"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/pod"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
)

// service is the Task service of one shim. Its methods are the calls of the
// API; each concerns one container, and is answered by who has that. They return
// errors of errdefs, which method turns into what goes over the wire.
type service struct {
	events   *events
	shutdown shutdown.Service
	pod      *pod.Service
	wasm     *wasm
	// linux is made for the first Linux container; a pod may have none.
	linux func() (*linux.Tasks, error)

	mu sync.Mutex
	// containers by id, with who has them; nil for one that is still being created.
	containers map[string]tasks
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
// that does not tell it. o are the options that the shim was started with.
//
// The service learns of the exits of its processes from containerd's reaper,
// which the shim library feeds; nobody else may wait for the shim's children.
func New(ctx context.Context, address string, o options.Options, publisher shim.Publisher, sd shutdown.Service) (shim.TTRPCService, error) {
	s := newService(ctx, o, publisher, sd, kernel{}, reaper.Default.Subscribe())
	if address == "" {
		return s, nil
	}
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	images, err := oci.NewImages(address, namespace, sandbox.MaxModule)
	if err != nil {
		return nil, err
	}
	s.wasm.images = images
	sd.RegisterCallback(func(context.Context) error { return images.Close() })
	return s, nil
}

func newService(ctx context.Context, o options.Options, publisher shim.Publisher, sd shutdown.Service, b backend, reaped <-chan runc.Exit) *service {
	ctx = context.WithoutCancel(ctx)
	s := &service{
		events:     newEvents(ctx, publisher),
		shutdown:   sd,
		containers: make(map[string]tasks),
	}
	s.wasm = newWasm(ctx, o, s.events, b, reaped)
	s.pod = pod.New(o.SystemdCgroup, s.wasm.exits, func() { _, _ = s.Shutdown(ctx, nil) })
	var made *linux.Tasks
	s.linux = sync.OnceValues(func() (_ *linux.Tasks, err error) {
		made, err = linux.New(ctx, s.events.send)
		return made, err
	})
	sd.RegisterCallback(func(ctx context.Context) (err error) {
		if made != nil { // no call is under way any more
			err = made.Close(ctx)
		}
		return errors.Join(err, s.events.close(ctx))
	})
	return s
}

// tasks has containers, and answers the calls that concern them.
type tasks interface {
	Start(context.Context, *taskAPI.StartRequest) (*taskAPI.StartResponse, error)
	State(context.Context, *taskAPI.StateRequest) (*taskAPI.StateResponse, error)
	Wait(context.Context, *taskAPI.WaitRequest) (*taskAPI.WaitResponse, error)
	Kill(context.Context, *taskAPI.KillRequest) (*empty, error)
	Delete(context.Context, *taskAPI.DeleteRequest) (*taskAPI.DeleteResponse, error)
	Connect(context.Context, *taskAPI.ConnectRequest) (*taskAPI.ConnectResponse, error)
	Pids(context.Context, *taskAPI.PidsRequest) (*taskAPI.PidsResponse, error)
	Stats(context.Context, *taskAPI.StatsRequest) (*taskAPI.StatsResponse, error)
	Pause(context.Context, *taskAPI.PauseRequest) (*empty, error)
	Resume(context.Context, *taskAPI.ResumeRequest) (*empty, error)
	Update(context.Context, *taskAPI.UpdateTaskRequest) (*empty, error)
	CloseIO(context.Context, *taskAPI.CloseIORequest) (*empty, error)
	ResizePty(context.Context, *taskAPI.ResizePtyRequest) (*empty, error)
	Exec(context.Context, *taskAPI.ExecProcessRequest) (*empty, error)
	Checkpoint(context.Context, *taskAPI.CheckpointTaskRequest) (*empty, error)
}

// of returns who has a container. One that is still being created is not found:
// nobody has been told that it exists.
func (s *service) of(id string) (tasks, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.containers[id]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("container %q: %w", id, errdefs.ErrNotFound)
}
