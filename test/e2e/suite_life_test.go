package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// TestClientStart follows a task from its creation to its delete, and looks at
// what the client is told on the way.
func TestClientStart(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := plan{guest: "exit", args: []string{"7"}}.create(t)
	pid := b.task.Pid()
	if pid == 0 || gone(pid) {
		t.Fatalf("the pid of the created task is %d", pid)
	}
	begin := time.Now()
	if err := b.task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if b.task.Pid() != pid {
		t.Errorf("the pid %d became %d", pid, b.task.Pid())
	}
	exit := b.waitCode(t, 7)
	status, err := b.task.Status(ctx)
	if err != nil || status.Status != containerd.Stopped || status.ExitStatus != 7 {
		t.Errorf("status %+v, %v", status, err)
	}
	if at := status.ExitTime; at.Before(begin) || at.After(time.Now()) || !at.Equal(exit.ExitTime()) {
		t.Errorf("the task ended at %v by its status and at %v by its exit; it started at %v", at, exit.ExitTime(), begin)
	}
	deleted, err := b.task.Delete(ctx)
	if err != nil || deleted.ExitCode() != 7 || !deleted.ExitTime().Equal(exit.ExitTime()) {
		t.Errorf("delete: %d at %v, %v", deleted.ExitCode(), deleted.ExitTime(), err)
	}
	if !gone(pid) {
		t.Errorf("process %d is still there", pid)
	}
	b.task = nil
}

// TestClientWait waits before, during and after the life of a task.
func TestClientWait(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := plan{guest: "exit", args: []string{"7"}}.create(t)

	canceled, cancel := context.WithCancel(ctx)
	cancel()
	given, err := b.task.Wait(canceled)
	if err != nil {
		t.Fatal(err)
	}
	if status := <-given; status.Error() == nil {
		t.Errorf("who no longer waits is told the exit code %d", status.ExitCode())
	}

	var waits []<-chan containerd.ExitStatus
	for range 20 {
		exit, err := b.task.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, exit)
	}
	if err := b.task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, exit := range waits {
		wantExit(t, "the task", exit, 7)
	}
	for range 2 {
		exit, err := b.task.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		wantExit(t, "the stopped task", exit, 7)
	}
}

// TestClientShortRun has a task that ends before anybody asks for its pid, and
// one whose exit is told of exactly once.
func TestClientShortRun(t *testing.T) {
	leavesNothing(t)
	id := newID(t)
	events := watch(t, id)
	b, err := plan{guest: "hello-c", io: cio.NullIO}.createWith(t, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 0)
	if b.task.Pid() == 0 {
		t.Error("the task has no pid")
	}
	if err := b.remove(); err != nil {
		t.Fatal(err)
	}
	// The shim is gone, so what containerd does at a shim's end is done too.
	eventually(t, "the shim ends", func() bool { return running(t, shimProgram) == 0 })
	events.waitFor(t, "/tasks/delete")
	time.Sleep(200 * time.Millisecond)
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"}
	if got := events.ofTask(); !slices.Equal(got, want) {
		t.Errorf("events %q, not %q", got, want)
	}
}

// TestClientKill ends a running task, once.
func TestClientKill(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	b.kill(t, syscall.SIGKILL)
	b.waitCode(t, 137)
	if err := b.task.Kill(ctx, syscall.SIGTERM); !errdefs.IsNotFound(err) {
		t.Errorf("the second kill: %v", err)
	}
	if !gone(b.task.Pid()) {
		t.Errorf("process %d is still there", b.task.Pid())
	}
}

// TestClientKillAll ends every process of a container that shares the host's
// pid namespace, and the same with the end of its first process alone.
func TestClientKillAll(t *testing.T) {
	for name, options := range map[string][]containerd.KillOpts{
		"all":   {containerd.WithKillAll},
		"first": nil,
	} {
		for _, own := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s own=%v", name, own), func(t *testing.T) {
				leavesNothing(t)
				ctx := namespaced(t.Context())
				var spec []oci.SpecOpts
				if !own {
					spec = append(spec, oci.WithHostNamespace(specs.PIDNamespace))
				}
				b := sleeper(t, spec...)
				child := b.spawn(t, "child", nil, "/sleep.wasm", "600000").start(t)
				child.stdout.waitFor(t, "sleeping")
				if err := b.task.Kill(ctx, syscall.SIGKILL, options...); err != nil {
					t.Fatal(err)
				}
				b.waitCode(t, 137)
				child.waitCode(t, 137)
				eventually(t, "the process of the exec is gone", func() bool { return gone(child.Pid()) })
				child.delete(t)
			})
		}
	}
}

// TestClientForcedDelete deletes a running task, which is refused unless the
// client says that it may be killed.
func TestClientForcedDelete(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	if _, err := b.task.Delete(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("delete of a running task: %v", err)
	}
	if err := b.Delete(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("delete of a container with a running task: %v", err)
	}
	status, err := b.task.Delete(ctx, containerd.WithProcessKill)
	if err != nil || status.ExitCode() != 137 {
		t.Errorf("forced delete: %v, exit code %d", err, status.ExitCode())
	}
	b.task = nil
}

// TestClientKilledBeforeStart has the kernel end a task's process, as when
// memory runs out, between create and start.
func TestClientKilledBeforeStart(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := plan{guest: "hello-c"}.create(t)
	if err := syscall.Kill(int(b.task.Pid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 137)
	if status := b.status(t); status != containerd.Stopped {
		t.Errorf("the task is %s", status)
	}
	if err := b.task.Start(ctx); err == nil {
		t.Error("it was started")
	}
}

// TestClientNoProgram names a program that is not there: an error at once, no
// task, and no event of an exit.
func TestClientNoProgram(t *testing.T) {
	leavesNothing(t)
	id := newID(t)
	events := watch(t, id)
	b, err := plan{guest: "hello-c", spec: []oci.SpecOpts{oci.WithProcessArgs("/nothing.wasm")}}.createWith(t, id)
	if err == nil {
		t.Fatalf("%s was created", b.ID())
	}
	if !strings.Contains(err.Error(), "/nothing.wasm") {
		t.Errorf("the error does not name the program: %v", err)
	}
	eventually(t, "the shim ends", func() bool { return running(t, shimProgram) == 0 })
	time.Sleep(200 * time.Millisecond)
	if got := events.ofTask(); slices.Contains(got, "/tasks/exit") {
		t.Errorf("events %q of a task that never was", got)
	}
}

// TestClientLongNames uses the longest namespace that containerd allows and an
// id as long as a sha256.
func TestClientLongNames(t *testing.T) {
	leavesNothing(t)
	namespace, id := strings.Repeat("n", 76), strings.Repeat("c", 64)
	ctx := namespaces.WithNamespace(t.Context(), namespace)
	done := namespaces.WithNamespace(context.Background(), namespace)
	module := filepath.Join(os.Getenv("E2E_GUESTS"), "hello-c.wasm")
	name := imageName("hello-c")
	if err := importImage(filepath.Join(engine.Dir, "long.tar"), namespace, image.Image{
		Name: name, Files: map[string]string{"/hello-c.wasm": module},
	}); err != nil {
		t.Fatal(err)
	}
	defer client.NamespaceService().Delete(done, namespace)
	defer client.ImageService().Delete(done, name)
	img, err := client.GetImage(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewContainer(ctx, id,
		containerd.WithNewSnapshot(id, img),
		containerd.WithRuntime(wasmRuntime, nil),
		containerd.WithNewSpec(oci.WithProcessArgs("/hello-c.wasm"), oci.WithCgroup("/"+engine.Namespace+"/"+id)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Delete(done, containerd.WithSnapshotCleanup)
	stdout := &output{}
	task, err := c.NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, stdout, stdout)))
	if err != nil {
		t.Fatal(err)
	}
	defer task.Delete(done, containerd.WithProcessKill)
	exit, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	wantExit(t, "the task", exit, 0)
	task.IO().Wait()
	if got := stdout.String(); got != "hello from c\n" {
		t.Errorf("stdout %q", got)
	}
}

// TestClientRuntimePath names the shim by its path instead of the runtime's name.
func TestClientRuntimePath(t *testing.T) {
	leavesNothing(t)
	program, err := engine.Program(shimProgram)
	if err != nil {
		t.Fatal(err)
	}
	b := plan{guest: "exit", args: []string{"7"}, runtime: program}.start(t)
	b.waitCode(t, 7)
}

// TestClientCheckpoint asks for what there is not. The client pauses the task
// for it, and the task goes on.
func TestClientCheckpoint(t *testing.T) {
	leavesNothing(t)
	b := sleeper(t)
	if _, err := b.task.Checkpoint(namespaced(t.Context())); !errdefs.IsNotImplemented(err) {
		t.Errorf("checkpoint: %v", err)
	}
	if status := b.status(t); status != containerd.Running {
		t.Errorf("the task is %s", status)
	}
}
