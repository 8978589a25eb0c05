package task

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	coreevents "github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	runc "github.com/containerd/go-runc"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// world is a service in which processes and cgroups are pretended.
type world struct {
	*service
	t         *testing.T
	reaped    chan runc.Exit
	publisher *recorder
	// background has the calls that are waited for at the end of the test.
	background sync.WaitGroup

	mu      sync.Mutex
	nextPid int
	guests  map[int]*fakeGuest
	groups  map[string]*fakeGroup // the last one of each container
	// prepare, if set, sees each new group before it is used.
	prepare func(*fakeGroup)
	// launching, if set, is what a launch does before it succeeds.
	launching func(ctx context.Context, cfg sandbox.Config, g *fakeGuest) error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.TempDir() // before the cleanup below, so as to outlive it
	_, sd := shutdown.WithShutdown(t.Context())
	w := &world{
		t:         t,
		reaped:    make(chan runc.Exit, 32),
		publisher: &recorder{},
		nextPid:   1 << 23, // above any pid there is
		guests:    make(map[int]*fakeGuest),
		groups:    make(map[string]*fakeGroup),
	}
	w.service = newService(namespaces.WithNamespace(t.Context(), "test"), options.Options{}, w.publisher, sd, w, w.reaped)
	t.Cleanup(func() {
		w.background.Wait()
		w.endAll()
		close(w.reaped)
		sd.Shutdown()
		<-sd.Done()
	})
	return w
}

func (w *world) newGroup(cfg cgroups.Config) (group, error) {
	g := &fakeGroup{cfg: cfg, kill: func(pid int) { w.end(pid, 128+int(syscall.SIGKILL)) }}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.prepare != nil {
		w.prepare(g)
	}
	w.groups[cfg.ID] = g
	return g, nil
}

func (w *world) launch(ctx context.Context, cfg sandbox.Config, inside guest) (guest, error) {
	if inside != nil {
		if err := inside.Signal(0); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	w.nextPid++
	g := &fakeGuest{world: w, pid: w.nextPid, cfg: cfg}
	w.guests[g.pid] = g
	launching := w.launching
	w.mu.Unlock()
	err := cfg.Joined(g.pid)
	if err == nil && launching != nil {
		err = launching(ctx, cfg, g)
	}
	if err != nil {
		_ = g.Signal(syscall.SIGKILL)
		return nil, err
	}
	return g, nil
}

// end lets a process end with a status as a shell would see it.
func (w *world) end(pid, status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.guests[pid]
	if g == nil || g.over {
		return
	}
	g.over = true
	if group := w.groups[g.cfg.ID]; group != nil {
		group.leave(pid)
	}
	w.reaped <- runc.Exit{Pid: pid, Status: status, Timestamp: time.Now()}
}

// endAll ends what lives and waits until the service has seen it.
func (w *world) endAll() {
	w.wasm.mu.Lock()
	defer w.wasm.mu.Unlock()
	for _, c := range w.wasm.containers {
		w.end(c.init.pid, 0)
		<-c.init.ended
	}
}

func (w *world) bundle(id string, edits ...func(*specs.Spec)) string {
	w.t.Helper()
	return newBundle(w.t, id, edits...)
}

// newBundle makes the bundle of a container, its spec changed by edits.
func newBundle(t *testing.T, id string, edits ...func(*specs.Spec)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id)
	spec := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"/app.wasm"}, Cwd: "/"},
		Linux:   &specs.Linux{CgroupsPath: "/test/" + id},
	}
	for _, edit := range edits {
		edit(spec)
	}
	data, err := json.Marshal(spec)
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// create creates a container that must come to be, and returns its process.
func (w *world) create(id string, edits ...func(*specs.Spec)) *fakeGuest {
	w.t.Helper()
	r, err := w.Create(w.t.Context(), &taskAPI.CreateTaskRequest{ID: id, Bundle: w.bundle(id, edits...)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.guests[int(r.Pid)]
}

func (w *world) group(id string) *fakeGroup {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.groups[id]
}

// wait returns the exit status of a container, which must come.
func (w *world) wait(id string) uint32 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	r, err := w.Wait(ctx, &taskAPI.WaitRequest{ID: id})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ExitStatus
}

// published closes the event queue and returns the topics of all that went out.
func (w *world) published() []string {
	w.t.Helper()
	if err := w.events.close(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.publisher.mu.Lock()
	defer w.publisher.mu.Unlock()
	var topics []string
	for _, event := range w.publisher.sent {
		topics = append(topics, runtime.GetTopic(event))
	}
	return topics
}

// event returns the only published event of a kind.
func event[E any](w *world) (found E) {
	w.t.Helper()
	w.publisher.mu.Lock()
	defer w.publisher.mu.Unlock()
	n := 0
	for _, e := range w.publisher.sent {
		if e, ok := e.(E); ok {
			found, n = e, n+1
		}
	}
	if n != 1 {
		w.t.Fatalf("%d events %T, want one", n, found)
	}
	return found
}

// fakeGuest ends at any signal but 0.
type fakeGuest struct {
	world    *world
	pid      int
	cfg      sandbox.Config
	startErr error
	onStart  func()

	// world.mu guards what follows.
	over, started, closed bool
}

func (g *fakeGuest) Pid() int { return g.pid }

func (g *fakeGuest) Start() error {
	g.world.mu.Lock()
	over, onStart := g.over, g.onStart
	g.started = true
	g.world.mu.Unlock()
	if over {
		return os.ErrProcessDone
	}
	if onStart != nil {
		onStart()
	}
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	if g.closed {
		return os.ErrClosed
	}
	return g.startErr
}

func (g *fakeGuest) Signal(sig syscall.Signal) error {
	g.world.mu.Lock()
	over := g.over || g.closed
	group := g.world.groups[g.cfg.ID]
	g.world.mu.Unlock()
	if over {
		return os.ErrProcessDone
	}
	if sig == 0 || group.postpone(g.pid) {
		return nil
	}
	g.world.end(g.pid, 128+int(sig))
	return nil
}

func (g *fakeGuest) Close() error {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	g.closed = true
	return nil
}

// recorder is a publisher that remembers.
type recorder struct {
	mu     sync.Mutex
	sent   []coreevents.Event
	closed int
	err    error
	block  chan struct{}
}

func (r *recorder) Publish(_ context.Context, topic string, event coreevents.Event) error {
	if r.block != nil {
		<-r.block
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, event)
	return r.err
}

func (r *recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed++
	return nil
}
