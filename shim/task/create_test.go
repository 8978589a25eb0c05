package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestCreateFailsWithASentence(t *testing.T) {
	limit := int64(64 << 20)
	limited := func(s *specs.Spec) {
		s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
	}
	tests := []struct {
		name    string
		edit    func(*specs.Spec)
		request func(*taskAPI.CreateTaskRequest)
		world   func(*world)
		want    string
		kind    error
	}{
		{name: "terminal", request: func(r *taskAPI.CreateTaskRequest) { r.Terminal = true }, want: "process.terminal is false", kind: errdefs.ErrInvalidArgument},
		{name: "checkpoint", request: func(r *taskAPI.CreateTaskRequest) { r.Checkpoint = "/x" }, want: "checkpoint", kind: errdefs.ErrInvalidArgument},
		{name: "options", request: func(r *taskAPI.CreateTaskRequest) {
			r.Options = &anypb.Any{TypeUrl: "other.Options", Value: []byte("x")}
		}, want: `"other.Options"`, kind: errdefs.ErrInvalidArgument},
		{name: "no spec", request: func(r *taskAPI.CreateTaskRequest) { os.Remove(r.Bundle + "/config.json") }, want: "config.json"},
		{name: "spec is no JSON", request: func(r *taskAPI.CreateTaskRequest) {
			os.WriteFile(r.Bundle+"/config.json", []byte("{"), 0o600)
		}, want: "is not a runtime spec", kind: errdefs.ErrInvalidArgument},
		{name: "no root", edit: func(s *specs.Spec) { s.Root = nil }, want: "root.path is missing", kind: errdefs.ErrInvalidArgument},
		{name: "no arguments", edit: func(s *specs.Spec) { s.Process.Args = nil }, want: "process.args"},
		{name: "output", request: func(r *taskAPI.CreateTaskRequest) { r.Stdout = "binary:///no/logger" }, want: "stdout: the logging program cannot be started", kind: os.ErrNotExist},
		{name: "cgroup", world: func(w *world) {
			w.prepare = func(g *fakeGroup) { g.joinErr = errors.New("no controller for linux.resources.pids") }
		}, want: "linux.resources.pids"},
		{name: "sandbox", world: func(w *world) {
			w.launching = func(context.Context, sandbox.Config, *fakeGuest) error { return errors.New("/app.wasm is not there") }
		}, want: "/app.wasm is not there"},
		{name: "never not implemented", world: func(w *world) {
			w.launching = func(context.Context, sandbox.Config, *fakeGuest) error {
				return fmt.Errorf("idmapped mounts: %w", errdefs.ErrNotImplemented)
			}
		}, want: "idmapped mounts", kind: errdefs.ErrInvalidArgument},
		{name: "out of memory", edit: limited, world: func(w *world) {
			w.launching = func(_ context.Context, cfg sandbox.Config, g *fakeGuest) error {
				w.group(cfg.ID).outOfMemory(true)
				w.end(g.pid, 137)
				return sandbox.ErrEnded
			}
		}, want: "memory limit of 67108864 bytes"},
		{name: "killed", world: func(w *world) {
			w.launching = func(_ context.Context, _ sandbox.Config, g *fakeGuest) error {
				w.end(g.pid, 128+int(syscall.SIGSEGV))
				return sandbox.ErrEnded
			}
		}, want: "killed by signal 11 (segmentation fault)"},
		{name: "state", request: func(r *taskAPI.CreateTaskRequest) { os.MkdirAll(r.Bundle+"/wasm-state.json/x", 0o700) }, want: "state could not be written"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if test.world != nil {
				test.world(w)
			}
			if test.edit == nil {
				test.edit = func(*specs.Spec) {}
			}
			r := &taskAPI.CreateTaskRequest{ID: "c", Bundle: w.bundle("c", test.edit)}
			if test.request != nil {
				test.request(r)
			}
			_, err := w.Create(t.Context(), r)
			if err == nil {
				t.Fatal("created")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `container "c"`) {
				t.Errorf("error %q lacks %q or the container", err, test.want)
			}
			if test.kind != nil && !errors.Is(err, test.kind) || errdefs.IsNotImplemented(err) {
				t.Errorf("error %q is not %v", err, test.kind)
			}
			w.nothingLeft("c")
			if state, err := bundle.Read(r.Bundle); err == nil {
				t.Errorf("state %+v left in the bundle", state)
			}
			// The id is free again.
			w.prepare, w.launching = nil, nil
			os.RemoveAll(filepath.Join(r.Bundle))
			w.create("c")
			if got := w.published(); !slices.Equal(got, []string{"/tasks/create"}) {
				t.Errorf("events %v, want none of the failed creation", got)
			}
		})
	}
}

// nothingLeft checks that a failed creation has been undone.
func (w *world) nothingLeft(id string) {
	w.t.Helper()
	w.service.mu.Lock()
	_, known := w.containers[id]
	w.service.mu.Unlock()
	if _, err := w.wasm.container(id); known || err == nil {
		w.t.Error("the container is still known")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.guests {
		if !g.over {
			w.t.Errorf("process %d lives", g.pid)
		}
	}
	if g := w.groups[id]; g != nil && g.deleted == 0 {
		w.t.Error("the cgroup is still there")
	}
}

// When the connection of a daemon breaks, ttrpc ends the context of its calls;
// what is half created goes, and with it a shim that nobody will ask to end.
func TestCreateIsUndoneWhenTheDaemonGoes(t *testing.T) {
	w := newWorld(t)
	entered := make(chan struct{})
	w.launching = func(ctx context.Context, _ sandbox.Config, _ *fakeGuest) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error)
	go func() {
		_, err := w.Create(ctx, &taskAPI.CreateTaskRequest{ID: "c", Bundle: w.bundle("c")})
		answer <- err
	}()
	<-entered
	if _, err := w.Shutdown(t.Context(), &taskAPI.ShutdownRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if w.isDown() {
		t.Fatal("the shim went down with a container under way")
	}
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("Create answers %v", err)
	}
	w.nothingLeft("c")
	if !w.isDown() {
		t.Error("the shim stays with nobody to end it")
	}
}

func TestShutdownWaitsForTheLastContainer(t *testing.T) {
	w := newWorld(t)
	w.stopped("c")
	ask := func() bool {
		t.Helper()
		if _, err := w.Shutdown(t.Context(), &taskAPI.ShutdownRequest{}); err != nil {
			t.Fatal(err)
		}
		return w.isDown()
	}
	if ask() {
		t.Fatal("down with a container that is not deleted")
	}
	if _, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if !ask() {
		t.Fatal("not down without containers")
	}
	if _, err := w.Create(t.Context(), &taskAPI.CreateTaskRequest{ID: "d", Bundle: w.bundle("d")}); !errdefs.IsUnavailable(err) {
		t.Errorf("Create on a shim that goes down answers %v", err)
	}
}

func (w *world) isDown() bool {
	w.service.mu.Lock()
	defer w.service.mu.Unlock()
	return w.down
}

func TestRootfsIsMountedAndUnmounted(t *testing.T) {
	// The thread has mounts of its own and ends with the test.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	source := t.TempDir()
	if err := os.WriteFile(source+"/app.wasm", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	dir := w.bundle("c")
	mounted := func() bool {
		_, err := os.Stat(dir + "/rootfs/app.wasm")
		return err == nil
	}
	request := &taskAPI.CreateTaskRequest{ID: "c", Bundle: dir, Rootfs: []*types.Mount{{Type: "bind", Source: source, Options: []string{"rbind", "ro"}}}}

	w.launching = func(context.Context, sandbox.Config, *fakeGuest) error {
		if !mounted() {
			t.Error("not mounted for the sandbox")
		}
		return errors.New("no")
	}
	if _, err := w.Create(t.Context(), request); err == nil {
		t.Fatal("created")
	}
	if mounted() {
		t.Error("still mounted after a failed creation")
	}

	w.launching = nil
	if _, err := w.Create(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if !mounted() {
		t.Error("not mounted")
	}
	if _, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if mounted() {
		t.Error("still mounted after the deletion")
	}

	request.Rootfs = append(request.Rootfs, &types.Mount{Type: "bind", Source: source + "/absent", Options: []string{"bind"}})
	if _, err := w.Create(t.Context(), request); err == nil || !strings.Contains(err.Error(), "cannot be mounted") {
		t.Errorf("Create with a source that is not there answers %v", err)
	}
	if mounted() {
		t.Error("half of the mounts stay after a failed creation")
	}
}

func TestRootPath(t *testing.T) {
	for path, want := range map[string]string{"rootfs": "/b/rootfs", "/abs/root/": "/abs/root", "./x/../y": "/b/y"} {
		if got := rootfsPath("/b", &specs.Spec{Root: &specs.Root{Path: path}}); got != want {
			t.Errorf("root.path %q is %q, want %q", path, got, want)
		}
	}
}
