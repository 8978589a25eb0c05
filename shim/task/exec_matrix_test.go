package task

import (
	"context"
	"encoding/json"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
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
