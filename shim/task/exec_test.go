package task

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	runcOptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// execRequest asks for a further process that runs /tool.wasm.
func execRequest(t *testing.T, id, execID string, args ...string) *taskAPI.ExecProcessRequest {
	t.Helper()
	if len(args) == 0 {
		args = []string{"/tool.wasm"}
	}
	value, err := json.Marshal(specs.Process{Args: args, Cwd: "/"})
	if err != nil {
		t.Fatal(err)
	}
	return &taskAPI.ExecProcessRequest{ID: id, ExecID: execID,
		Spec: &anypb.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process", Value: value}}
}

func (w *world) tryAdd(ctx context.Context, id, execID string) error {
	_, err := w.Exec(ctx, execRequest(w.t, id, execID))
	return err
}

func (w *world) add(id, execID string) {
	w.t.Helper()
	if err := w.tryAdd(w.t.Context(), id, execID); err != nil {
		w.t.Fatal(err)
	}
}

// exec adds a process to a container and starts it.
func (w *world) exec(id, execID string) *fakeGuest {
	w.t.Helper()
	w.add(id, execID)
	r, err := w.Start(w.t.Context(), &taskAPI.StartRequest{ID: id, ExecID: execID})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.guests[int(r.Pid)]
}

func (w *world) waitExec(id, execID string) uint32 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	r, err := w.Wait(ctx, &taskAPI.WaitRequest{ID: id, ExecID: execID})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ExitStatus
}

// The situations in which a process can be that Exec has added, in a container
// that runs unless it says otherwise.
var execSituations = []struct {
	name  string
	bring func(*world) (undo func())
}{
	{"unknown", func(w *world) func() { w.running("c"); return nil }},
	{"added", func(w *world) func() { w.running("c"); w.add("c", "e"); return nil }},
	{"starting", func(w *world) func() {
		w.running("c")
		w.add("c", "e")
		hold, entered := make(chan struct{}), make(chan struct{})
		w.launching = func(context.Context, sandbox.Config, *fakeGuest) error { close(entered); <-hold; return nil }
		w.background.Go(func() { w.Start(w.t.Context(), &taskAPI.StartRequest{ID: "c", ExecID: "e"}) })
		<-entered
		return func() { close(hold) }
	}},
	{"running", func(w *world) func() { w.running("c"); w.exec("c", "e"); return nil }},
	{"paused", func(w *world) func() {
		w.running("c")
		w.exec("c", "e")
		if _, err := w.Pause(w.t.Context(), &taskAPI.PauseRequest{ID: "c"}); err != nil {
			w.t.Fatal(err)
		}
		return nil
	}},
	{"stopped", func(w *world) func() {
		w.running("c")
		w.end(w.exec("c", "e").pid, 7)
		w.waitExec("c", "e")
		return nil
	}},
	{"failed", func(w *world) func() {
		w.running("c")
		w.add("c", "e")
		w.launching = func(context.Context, sandbox.Config, *fakeGuest) error { return errors.New("no") }
		if _, err := w.Start(w.t.Context(), &taskAPI.StartRequest{ID: "c", ExecID: "e"}); err == nil {
			w.t.Fatal("started")
		}
		return nil
	}},
	{"deleting", func(w *world) func() {
		w.running("c")
		w.end(w.exec("c", "e").pid, 7)
		w.waitExec("c", "e")
		_, p, err := w.wasm.process("c", "e")
		if err != nil {
			w.t.Fatal(err)
		}
		p.stdio.copies.Add(1) // output is still being carried
		w.background.Go(func() { w.Delete(w.t.Context(), &taskAPI.DeleteRequest{ID: "c", ExecID: "e"}) })
		w.awaitProcess(p, deleting)
		return p.stdio.copies.Done
	}},
	{"deleted", func(w *world) func() {
		w.running("c")
		w.end(w.exec("c", "e").pid, 7)
		w.waitExec("c", "e")
		if _, err := w.Delete(w.t.Context(), &taskAPI.DeleteRequest{ID: "c", ExecID: "e"}); err != nil {
			w.t.Fatal(err)
		}
		return nil
	}},
	{"added to a container that has ended", func(w *world) func() {
		g := w.running("c")
		w.add("c", "e")
		w.end(g.pid, 0)
		w.wait("c")
		return nil
	}},
}

// Every call in every situation: the columns are the situations above.
var execMatrix = []struct {
	name string
	call func(context.Context, *world) error
	want [10]error
}{
	{"Exec", func(ctx context.Context, w *world) error { return w.tryAdd(ctx, "c", "e") },
		[10]error{fine, exists, exists, exists, exists, exists, exists, exists, fine, exists}},
	{"Start", func(ctx context.Context, w *world) error {
		_, err := w.Start(ctx, &taskAPI.StartRequest{ID: "c", ExecID: "e"})
		return err
	}, [10]error{absent, fine, refused, refused, refused, refused, refused, refused, absent, refused}},
	{"State", func(ctx context.Context, w *world) error {
		_, err := w.State(ctx, &taskAPI.StateRequest{ID: "c", ExecID: "e"})
		return err
	}, [10]error{absent, fine, fine, fine, fine, fine, fine, fine, absent, fine}},
	{"Wait", func(ctx context.Context, w *world) error {
		_, err := w.Wait(ctx, &taskAPI.WaitRequest{ID: "c", ExecID: "e"})
		return err
	}, [10]error{absent, blocks, blocks, blocks, blocks, fine, fine, fine, absent, blocks}},
	{"Kill", func(ctx context.Context, w *world) error {
		_, err := w.Kill(ctx, &taskAPI.KillRequest{ID: "c", ExecID: "e", Signal: uint32(syscall.SIGTERM)})
		return err
	}, [10]error{absent, refused, refused, fine, fine, absent, absent, absent, absent, refused}},
	{"Delete", func(ctx context.Context, w *world) error {
		_, err := w.Delete(ctx, &taskAPI.DeleteRequest{ID: "c", ExecID: "e"})
		return err
	}, [10]error{absent, fine, refused, refused, refused, fine, fine, refused, absent, fine}},
	{"CloseIO", func(ctx context.Context, w *world) error {
		_, err := w.CloseIO(ctx, &taskAPI.CloseIORequest{ID: "c", ExecID: "e", Stdin: true})
		return err
	}, [10]error{absent, fine, fine, fine, fine, fine, fine, fine, absent, fine}},
	{"ResizePty", func(ctx context.Context, w *world) error {
		_, err := w.ResizePty(ctx, &taskAPI.ResizePtyRequest{ID: "c", ExecID: "e"})
		return err
	}, [10]error{absent, fine, fine, fine, fine, fine, fine, fine, absent, fine}},
	{"Delete of the container", func(ctx context.Context, w *world) error {
		_, err := w.Delete(ctx, &taskAPI.DeleteRequest{ID: "c"})
		return err
	}, [10]error{refused, refused, refused, refused, refused, refused, refused, refused, refused, fine}},
}

func TestEveryCallOfAFurtherProcessInEveryState(t *testing.T) {
	for column, situation := range execSituations {
		for _, row := range execMatrix {
			t.Run(situation.name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				answersAsWanted(t, situation.bring, row.call, row.want[column])
			})
		}
	}
}

func TestStatusOfAFurtherProcessInEveryState(t *testing.T) {
	want := map[string]task.Status{
		"added": task.Status_CREATED, "starting": task.Status_CREATED, "running": task.Status_RUNNING,
		"paused": task.Status_PAUSED, "stopped": task.Status_STOPPED, "failed": task.Status_STOPPED, "deleting": task.Status_STOPPED,
	}
	for _, situation := range execSituations {
		status, ok := want[situation.name]
		if !ok {
			continue
		}
		t.Run(situation.name, func(t *testing.T) {
			w := newWorld(t)
			if undo := situation.bring(w); undo != nil {
				defer undo()
			}
			r, err := w.State(t.Context(), &taskAPI.StateRequest{ID: "c", ExecID: "e"})
			if err != nil {
				t.Fatal(err)
			}
			running := status == task.Status_RUNNING || status == task.Status_PAUSED || situation.name == "stopped" || situation.name == "deleting"
			if r.Status != status || r.ID != "e" || r.ExecID != "e" || (r.Pid != 0) != running {
				t.Errorf("state %v, want status %v", r, status)
			}
			wantExit := map[string]uint32{"stopped": 7, "deleting": 7, "failed": 127}[situation.name]
			if r.ExitStatus != wantExit {
				t.Errorf("exit status %d, want %d", r.ExitStatus, wantExit)
			}
		})
	}
}

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
