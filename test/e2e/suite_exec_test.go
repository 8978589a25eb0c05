package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
)

// TestClientExec follows a further process from its creation to its delete; the
// container's first process is not concerned.
func TestClientExec(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	p := b.spawn(t, "seven", nil, "/exit.wasm", "7")
	status, err := p.Status(ctx)
	if err != nil || status.Status != containerd.Created {
		t.Errorf("before its start it is %s, %v", status.Status, err)
	}
	p.start(t)
	if p.Pid() == 0 || p.Pid() == b.task.Pid() {
		t.Errorf("its pid is %d; that of the first process is %d", p.Pid(), b.task.Pid())
	}
	p.waitCode(t, 7)
	again, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantExit(t, "the stopped process", again, 7)
	if status, err = p.Status(ctx); err != nil || status.Status != containerd.Stopped || status.ExitStatus != 7 {
		t.Errorf("after its end its status is %+v, %v", status, err)
	}
	deleted, err := p.Delete(ctx)
	if err != nil || deleted.ExitCode() != 7 {
		t.Errorf("delete: %d, %v", deleted.ExitCode(), err)
	}
	if _, err := b.task.LoadProcess(ctx, "seven", nil); !errdefs.IsNotFound(err) {
		t.Errorf("it can be loaded after its delete: %v", err)
	}
	if status := b.status(t); status != containerd.Running {
		t.Errorf("the first process is %s", status)
	}
}

// TestClientExecLargeArguments hands over more than a page of arguments.
func TestClientExecLargeArguments(t *testing.T) {
	leavesNothing(t)
	b := sleeper(t)
	p := b.spawn(t, "large", nil, "/exit.wasm", "3", strings.Repeat("a", 20_000)).start(t)
	p.waitCode(t, 2) // it takes one argument
	p.IO().Wait()
	if got := p.stdout.String(); !strings.Contains(got, "usage: exit") {
		t.Errorf("it says %q", got)
	}
	p.delete(t)
}

// TestClientExecNotStarted deletes a process that never ran, and uses its id
// again.
func TestClientExecNotStarted(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	p := b.spawn(t, "once", nil, "/exit.wasm", "7")
	spec, err := b.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.task.Exec(ctx, "once", spec.Process, cio.NullIO); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a second process of that id: %v", err)
	}
	status, err := p.Delete(ctx)
	if err != nil || status.ExitCode() != 0 {
		t.Errorf("delete: exit code %d, %v", status.ExitCode(), err)
	}
	p = b.spawn(t, "once", nil, "/exit.wasm", "8").start(t)
	p.waitCode(t, 8)
	p.delete(t)
}

// TestClientExecForcedDelete deletes a running process.
func TestClientExecForcedDelete(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	p := b.spawn(t, "forced", nil, "/sleep.wasm", "600000").start(t)
	p.stdout.waitFor(t, "sleeping")
	if _, err := p.Delete(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("delete of a running process: %v", err)
	}
	if _, err := p.Delete(ctx, containerd.WithProcessKill); err != nil {
		t.Errorf("forced delete: %v", err)
	}
	if !gone(p.Pid()) {
		t.Errorf("process %d is still there", p.Pid())
	}
	if status := b.status(t); status != containerd.Running {
		t.Errorf("the first process is %s", status)
	}
}

// TestClientExecNoProgram runs what is not there. The process can be deleted
// and the container goes on.
func TestClientExecNoProgram(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	p := b.spawn(t, "none", nil, "/none.wasm")
	err := p.Start(ctx)
	if err == nil || !strings.Contains(err.Error(), "/none.wasm") {
		t.Errorf("start: %v", err)
	}
	p.delete(t)
	if status := b.status(t); status != containerd.Running {
		t.Errorf("the first process is %s", status)
	}
}

// TestClientExecUnknown asks for a process that never was.
func TestClientExecUnknown(t *testing.T) {
	leavesNothing(t)
	b := sleeper(t)
	if _, err := b.task.LoadProcess(namespaced(t.Context()), "unknown", nil); !errdefs.IsNotFound(err) {
		t.Errorf("it was loaded: %v", err)
	}
}

// TestClientExecAttach loads a running process anew and goes on with both
// streams.
func TestClientExecAttach(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	f := openFIFOs(t)
	p := b.spawn(t, "cat", f.create, "/cat.wasm").start(t)
	f.write(t, "before\n")
	loaded, err := b.task.LoadProcess(ctx, "cat", f.attach)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := loaded.Status(ctx); err != nil || status.Status != containerd.Running {
		t.Errorf("the loaded process is %s, %v", status.Status, err)
	}
	f.finish(t, loaded)
	p.waitCode(t, 0)
	f.ended(t)
	if got := f.stdout.String(); got != "before\nafter\n" {
		t.Errorf("stdout %q", got)
	}
	p.delete(t)
}

// TestClientPids lists the processes of a container.
func TestClientPids(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	p := b.spawn(t, "child", nil, "/sleep.wasm", "600000").start(t)
	p.stdout.waitFor(t, "sleeping")
	pids := func() (pids []uint32) {
		processes, err := b.task.Pids(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, process := range processes {
			pids = append(pids, process.Pid)
		}
		slices.Sort(pids)
		return pids
	}
	want := []uint32{b.task.Pid(), p.Pid()}
	slices.Sort(want)
	if got := pids(); !slices.Equal(got, want) {
		t.Errorf("processes %d, not %d", got, want)
	}
	if err := p.Kill(ctx, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.waitCode(t, 143)
	if got, want := pids(), []uint32{b.task.Pid()}; !slices.Equal(got, want) {
		t.Errorf("processes %d, not %d, after the end of the second", got, want)
	}
	p.delete(t)
}

// TestClientExecInitEnds kills the first process while others are created, run
// and have ended: the running one ends with it, and none is started any more.
func TestClientExecInitEnds(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	unstarted := b.spawn(t, "unstarted", nil, "/exit.wasm", "1")
	runs := b.spawn(t, "runs", nil, "/sleep.wasm", "600000").start(t)
	runs.stdout.waitFor(t, "sleeping")
	over := b.spawn(t, "over", nil, "/exit.wasm", "7").start(t)
	over.waitCode(t, 7)

	if err := syscall.Kill(int(b.task.Pid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 137)
	runs.waitCode(t, 137)
	if err := unstarted.Start(ctx); err == nil {
		t.Error("a process was started in a container that has ended")
	}
	for p, want := range map[*spawned]containerd.ProcessStatus{unstarted: containerd.Created, runs: containerd.Stopped, over: containerd.Stopped} {
		// A start that failed leaves nothing to start again.
		if status, err := p.Status(ctx); err != nil || status.Status != want && status.Status != containerd.Stopped {
			t.Errorf("%s is %s, %v; not %s", p.ID(), status.Status, err, want)
		}
		p.delete(t)
	}
}

// TestClientExecRace starts processes while the first one is being killed. Each
// either runs, and then ends, or is refused; all can be deleted.
func TestClientExecRace(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := sleeper(t)
	started := make(chan *spawned)
	const n = 6
	for i := range n {
		p := b.spawn(t, fmt.Sprintf("exec%d", i), cio.NullIO, "/sleep.wasm", "600000")
		go func() {
			if err := p.Start(ctx); err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			started <- p
		}()
	}
	first := <-started
	if err := syscall.Kill(int(b.task.Pid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 137)
	all := []*spawned{first}
	for range n - 1 {
		all = append(all, <-started)
	}
	for _, p := range all {
		eventually(t, p.ID()+" has ended", func() bool {
			status, err := p.Status(ctx)
			return err == nil && status.Status != containerd.Running
		})
		p.delete(t)
	}
}
