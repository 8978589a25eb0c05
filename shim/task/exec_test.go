package task

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	runcOptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestLifeOfAFurtherProcess(t *testing.T) {
	w := newWorld(t)
	first := w.create("c", func(s *specs.Spec) { s.Hostname = "here" })
	g := w.exec("c", "e") // the container may be waiting for its start
	if got := g.cfg.Spec; got.Process.Args[0] != "/tool.wasm" || got.Hostname != "here" || got.Linux != first.cfg.Spec.Linux && got.Linux.CgroupsPath != first.cfg.Spec.Linux.CgroupsPath {
		t.Errorf("the sandbox was asked for %+v", got)
	}
	pids, err := w.Pids(t.Context(), &taskAPI.PidsRequest{ID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	details := map[uint32]string{}
	for _, p := range pids.Processes {
		details[p.Pid] = ""
		if p.Info != nil {
			var d runcOptions.ProcessDetails
			if err := typeurl.UnmarshalTo(p.Info, &d); err != nil {
				t.Fatal(err)
			}
			details[p.Pid] = d.ExecID
		}
	}
	if len(details) != 2 || details[uint32(g.pid)] != "e" || details[uint32(first.pid)] != "" {
		t.Errorf("processes %v", pids.Processes)
	}
	w.end(g.pid, 5)
	if status := w.waitExec("c", "e"); status != 5 {
		t.Errorf("exit status %d, want 5", status)
	}
	deleted, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c", ExecID: "e"})
	if err != nil || deleted.ExitStatus != 5 || deleted.Pid != uint32(g.pid) || deleted.ExitedAt.AsTime().IsZero() {
		t.Errorf("Delete answers %v, %v", deleted, err)
	}
	want := []string{"/tasks/create", "/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"}
	if got := w.published(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	exit := event[*eventsAPI.TaskExit](w)
	if exit.ID != "e" || exit.ContainerID != "c" || exit.ExitStatus != 5 || exit.Pid != uint32(g.pid) {
		t.Errorf("TaskExit %v", exit)
	}
	if started := event[*eventsAPI.TaskExecStarted](w); started.ExecID != "e" || started.Pid != uint32(g.pid) {
		t.Errorf("TaskExecStarted %v", started)
	}
}

func TestExitOfAFurtherProcessNeverBeforeItsStart(t *testing.T) {
	w := newWorld(t)
	w.running("c")
	w.add("c", "e")
	w.launching = func(_ context.Context, _ sandbox.Config, g *fakeGuest) error {
		g.onStart = func() {
			w.end(g.pid, 0)
			time.Sleep(20 * time.Millisecond) // for the exit to get as far as it can
		}
		return nil
	}
	if _, err := w.Start(t.Context(), &taskAPI.StartRequest{ID: "c", ExecID: "e"}); err != nil {
		t.Fatal(err)
	}
	w.waitExec("c", "e")
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"}
	if got := w.published(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// With a container's first process all others end, and are told of first.
func TestEndOfTheContainerEndsFurtherProcesses(t *testing.T) {
	w := newWorld(t)
	g := w.running("c")
	w.exec("c", "e1")
	w.exec("c", "e2")
	w.add("c", "unstarted")
	w.end(g.pid, 3)
	if status := w.wait("c"); status != 3 {
		t.Errorf("exit status %d, want 3", status)
	}
	for _, id := range []string{"e1", "e2"} {
		if status := w.waitExec("c", id); status != 137 {
			t.Errorf("exit status of %s %d, want 137", id, status)
		}
	}
	waited := make(chan error, 1)
	go func() {
		_, err := w.Wait(context.Background(), &taskAPI.WaitRequest{ID: "c", ExecID: "unstarted"})
		waited <- err
	}()
	if _, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-waited:
	case <-time.After(20 * time.Second):
		t.Error("who waits for a process that was never started waits for ever")
	}
	w.published()
	var exits []string
	for _, e := range w.publisher.sent {
		if exit, ok := e.(*eventsAPI.TaskExit); ok {
			exits = append(exits, exit.ID)
		}
	}
	if len(exits) != 3 || exits[2] != "c" {
		t.Errorf("exits were told of in the order %v, want c last of three", exits)
	}
}

func TestEndOfTheContainerWhileAProcessIsBeingStarted(t *testing.T) {
	w := newWorld(t)
	first := w.running("c")
	w.add("c", "e")
	w.launching = func(_ context.Context, _ sandbox.Config, g *fakeGuest) error {
		w.end(first.pid, 0)
		for range 10000 {
			w.mu.Lock()
			over := g.over
			w.mu.Unlock()
			if over {
				return sandbox.ErrEnded
			}
			time.Sleep(time.Millisecond)
		}
		return errors.New("not killed")
	}
	_, err := w.Start(t.Context(), &taskAPI.StartRequest{ID: "c", ExecID: "e"})
	if !errdefs.IsFailedPrecondition(err) || !errors.Is(err, sandbox.ErrEnded) {
		t.Errorf("Start answers %v", err)
	}
	w.wait("c")
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exit"}
	if got := w.published(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestFailedStartOfAFurtherProcess(t *testing.T) {
	w := newWorld(t)
	w.running("c")
	w.add("c", "e")
	var launched *fakeGuest
	w.launching = func(_ context.Context, _ sandbox.Config, g *fakeGuest) error {
		launched = g
		return errors.New("module /tool.wasm looks like a Linux program (ELF)")
	}
	_, err := w.Start(t.Context(), &taskAPI.StartRequest{ID: "c", ExecID: "e"})
	for _, part := range []string{`process "e" of container "c" cannot be started`, "(ELF)", "exec runs a WebAssembly module"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Start answers %v, want %q in it", err, part)
		}
	}
	if !launched.over {
		t.Error("the process of the failed start lives")
	}
	if status := w.waitExec("c", "e"); status != 127 {
		t.Errorf("exit status %d, want 127", status)
	}
	if deleted, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c", ExecID: "e"}); err != nil || deleted.ExitStatus != 127 {
		t.Errorf("Delete answers %v, %v", deleted, err)
	}
	w.launching = nil
	w.exec("c", "e") // the id is free again
	w.hasPids("c", 2)
}

// hasPids checks how many processes a container has.
func (w *world) hasPids(id string, want int) {
	w.t.Helper()
	r, err := w.Pids(w.t.Context(), &taskAPI.PidsRequest{ID: id})
	if err != nil || len(r.Processes) != want {
		w.t.Errorf("Pids answers %v, %v; want %d processes", r, err, want)
	}
}

func TestRequestsForFurtherProcessesThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.running("c")
	noID := execRequest(t, "c", "")
	if _, err := w.Exec(t.Context(), noID); !errdefs.IsInvalidArgument(err) {
		t.Errorf("without an id: %v", err)
	}
	if _, err := w.Exec(t.Context(), execRequest(t, "c", "c")); !errdefs.IsAlreadyExists(err) {
		t.Errorf("with the container's id: %v", err)
	}
	broken := execRequest(t, "c", "e")
	broken.Spec.Value = []byte("{")
	if _, err := w.Exec(t.Context(), broken); !errdefs.IsInvalidArgument(err) {
		t.Errorf("with a broken spec: %v", err)
	}
	w.add("c", "e") // the failures have left nothing
}

// A process of a paused container dies when the container goes on.
func TestKillOfAFurtherProcessOfAPausedContainer(t *testing.T) {
	w := newWorld(t)
	w.running("c")
	w.exec("c", "e")
	if _, err := w.Pause(t.Context(), &taskAPI.PauseRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kill(t.Context(), &taskAPI.KillRequest{ID: "c", ExecID: "e", Signal: 9}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Resume(t.Context(), &taskAPI.ResumeRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if status := w.waitExec("c", "e"); status != 137 {
		t.Errorf("exit status %d, want 137", status)
	}
	w.await("c", running)
}
