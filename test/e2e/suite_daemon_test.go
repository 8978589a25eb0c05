package e2e

import (
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
)

// TestClientRestart has containerd go and come back while one task runs, one is
// created, one ends and one copies its input to its output.
func TestClientRestart(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	own := newSpare(t, 0, "sleep", "cat", "exit")

	runs := plan{on: own.client, guest: "sleep", args: []string{"600000"}}.start(t)
	ends := plan{on: own.client, guest: "sleep", args: []string{"600000"}, io: cio.NullIO}.start(t)
	unstarted := plan{on: own.client, guest: "exit", args: []string{"7"}, io: cio.NullIO}.create(t)
	f := openFIFOs(t)
	copies := plan{on: own.client, guest: "cat", io: f.create}.start(t)
	f.write(t, "before\n")
	ofChild := openFIFOs(t)
	child := copies.spawn(t, "child", ofChild.create, "/cat.wasm").start(t)
	ofChild.write(t, "before\n")

	if err := own.Stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case status := <-runs.exit:
		if status.Error() == nil {
			t.Errorf("who waits is told the exit code %d though containerd is gone", status.ExitCode())
		}
	case <-time.After(scaled(10 * time.Second)):
		t.Error("who waits is told nothing though containerd is gone")
	}
	if err := syscall.Kill(int(ends.task.Pid()), syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	for _, io := range []*heldIO{f, ofChild} {
		io.write(t, "meanwhile\n")
		io.stdout.waitFor(t, "meanwhile")
	}
	own.rise(t)

	for b, want := range map[*box]containerd.ProcessStatus{
		runs: containerd.Running, ends: containerd.Stopped, unstarted: containerd.Created, copies: containerd.Running,
	} {
		if status := b.status(t); status != want {
			t.Errorf("%s is %s, not %s", b.ID(), status, want)
		}
		loaded, err := b.Task(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if loaded.Pid() != b.task.Pid() {
			t.Errorf("the pid of %s is %d, which was %d", b.ID(), loaded.Pid(), b.task.Pid())
		}
		if b.exit, err = b.task.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	ends.waitCode(t, 143)
	if err := unstarted.task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	unstarted.waitCode(t, 7)
	runs.kill(t, syscall.SIGKILL)
	runs.waitCode(t, 137)
	if !gone(runs.task.Pid()) {
		t.Errorf("process %d is still there", runs.task.Pid())
	}

	loaded, err := copies.task.LoadProcess(ctx, "child", ofChild.attach)
	if err != nil {
		t.Fatal(err)
	}
	if child.exit, err = loaded.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	ofChild.finish(t, loaded)
	child.waitCode(t, 0)
	child.delete(t)
	f.finish(t, copies.task)
	copies.waitCode(t, 0)
	for _, io := range []*heldIO{f, ofChild} {
		io.ended(t)
		if got := io.stdout.String(); got != "before\nmeanwhile\nafter\n" {
			t.Errorf("stdout %q", got)
		}
	}
}

// finish writes the last line and ends the input of a process.
func (h *heldIO) finish(t *testing.T, p containerd.Process) {
	t.Helper()
	h.write(t, "after\n")
	h.Stdin.Close()
	if err := p.CloseIO(namespaced(t.Context()), containerd.WithStdinCloser); err != nil {
		t.Fatal(err)
	}
}
