package task

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/anypb"
)

// The situations in which a container can be.
var situations = []struct {
	name  string
	bring func(*world) (undo func()) // to there
}{
	{"unknown", func(*world) func() { return nil }},
	{"creating", func(w *world) func() {
		hold, entered := make(chan struct{}), make(chan struct{})
		w.launching = func(context.Context, sandbox.Config, *fakeGuest) error { close(entered); <-hold; return nil }
		w.background.Go(func() { w.Create(w.t.Context(), &taskAPI.CreateTaskRequest{ID: "c", Bundle: w.bundle("c")}) })
		<-entered
		return func() { close(hold) }
	}},
	{"created", func(w *world) func() { w.create("c"); return nil }},
	{"running", func(w *world) func() { w.running("c"); return nil }},
	{"pausing", func(w *world) func() {
		hold := make(chan struct{})
		w.prepare = func(g *fakeGroup) { g.freezing = hold }
		w.running("c")
		w.background.Go(func() { w.Pause(w.t.Context(), &taskAPI.PauseRequest{ID: "c"}) })
		w.await("c", pausing)
		return func() { close(hold) }
	}},
	{"paused", func(w *world) func() { w.paused("c"); return nil }},
	{"resuming", func(w *world) func() {
		hold := make(chan struct{})
		w.prepare = func(g *fakeGroup) { g.thawing = hold }
		w.paused("c")
		w.background.Go(func() { w.Resume(w.t.Context(), &taskAPI.ResumeRequest{ID: "c"}) })
		w.await("c", resuming)
		return func() { close(hold) }
	}},
	{"stopped", func(w *world) func() { w.stopped("c"); return nil }},
	{"deleting", func(w *world) func() {
		hold := make(chan struct{})
		w.prepare = func(g *fakeGroup) { g.deleting = hold }
		w.stopped("c")
		w.background.Go(func() { w.Delete(w.t.Context(), &taskAPI.DeleteRequest{ID: "c"}) })
		w.await("c", deleting)
		return func() { close(hold) }
	}},
	{"deleted", func(w *world) func() {
		w.stopped("c")
		if _, err := w.Delete(w.t.Context(), &taskAPI.DeleteRequest{ID: "c"}); err != nil {
			w.t.Fatal(err)
		}
		return nil
	}},
}

// Short names of answers: fine, or the kind of error; blocks for a call that
// has not answered after a while.
var (
	fine       error
	absent     = errdefs.ErrNotFound
	refused    = errdefs.ErrFailedPrecondition
	invalid    = errdefs.ErrInvalidArgument
	unwritten  = errdefs.ErrNotImplemented
	exists     = errdefs.ErrAlreadyExists
	blocks     = context.DeadlineExceeded
	everywhere = func(err error) [10]error {
		return [10]error{absent, absent, err, err, err, err, err, err, err, absent}
	}
)

// Every call in every situation: the columns are the situations above.
var matrix = []struct {
	name string
	call func(context.Context, *world) error
	want [10]error
}{
	{"Create", func(ctx context.Context, w *world) error {
		_, err := w.Create(ctx, &taskAPI.CreateTaskRequest{ID: "c", Bundle: w.bundle("c")})
		return err
	}, [10]error{fine, exists, exists, exists, exists, exists, exists, exists, exists, fine}},
	{"Start", func(ctx context.Context, w *world) error {
		_, err := w.Start(ctx, &taskAPI.StartRequest{ID: "c"})
		return err
	}, [10]error{absent, absent, fine, refused, refused, refused, refused, refused, refused, absent}},
	{"State", func(ctx context.Context, w *world) error {
		_, err := w.State(ctx, &taskAPI.StateRequest{ID: "c"})
		return err
	}, everywhere(fine)},
	{"Wait", func(ctx context.Context, w *world) error {
		_, err := w.Wait(ctx, &taskAPI.WaitRequest{ID: "c"})
		return err
	}, [10]error{absent, absent, blocks, blocks, blocks, blocks, blocks, fine, fine, absent}},
	{"Kill", func(ctx context.Context, w *world) error {
		_, err := w.Kill(ctx, &taskAPI.KillRequest{ID: "c", Signal: uint32(syscall.SIGTERM)})
		return err
	}, [10]error{absent, absent, fine, fine, fine, fine, fine, absent, absent, absent}},
	{"Kill all", func(ctx context.Context, w *world) error {
		_, err := w.Kill(ctx, &taskAPI.KillRequest{ID: "c", Signal: uint32(syscall.SIGKILL), All: true})
		return err
	}, [10]error{absent, absent, fine, fine, fine, fine, fine, absent, absent, absent}},
	{"Kill with no signal", func(ctx context.Context, w *world) error {
		_, err := w.Kill(ctx, &taskAPI.KillRequest{ID: "c", Signal: 65})
		return err
	}, everywhere(invalid)},
	{"Delete", func(ctx context.Context, w *world) error {
		_, err := w.Delete(ctx, &taskAPI.DeleteRequest{ID: "c"})
		return err
	}, [10]error{absent, absent, fine, refused, refused, refused, refused, fine, refused, absent}},
	{"Connect", func(ctx context.Context, w *world) error {
		_, err := w.Connect(ctx, &taskAPI.ConnectRequest{ID: "c"})
		return err
	}, [10]error{}},
	{"Pids", func(ctx context.Context, w *world) error {
		r, err := w.Pids(ctx, &taskAPI.PidsRequest{ID: "c"})
		if err == nil && len(r.Processes) != 1 {
			return errors.New("not one process")
		}
		return err
	}, [10]error{absent, absent, fine, fine, fine, fine, fine, refused, refused, absent}},
	{"Stats", func(ctx context.Context, w *world) error {
		_, err := w.Stats(ctx, &taskAPI.StatsRequest{ID: "c"})
		return err
	}, everywhere(fine)},
	{"Pause", func(ctx context.Context, w *world) error {
		_, err := w.Pause(ctx, &taskAPI.PauseRequest{ID: "c"})
		return err
	}, [10]error{absent, absent, refused, fine, refused, refused, refused, refused, refused, absent}},
	{"Resume", func(ctx context.Context, w *world) error {
		_, err := w.Resume(ctx, &taskAPI.ResumeRequest{ID: "c"})
		return err
	}, [10]error{absent, absent, refused, refused, refused, fine, refused, refused, refused, absent}},
	{"Update", func(ctx context.Context, w *world) error {
		_, err := w.Update(ctx, &taskAPI.UpdateTaskRequest{ID: "c", Resources: &anypb.Any{Value: []byte("{}")}})
		return err
	}, [10]error{absent, absent, fine, fine, fine, fine, fine, refused, refused, absent}},
	{"CloseIO", func(ctx context.Context, w *world) error {
		_, err := w.CloseIO(ctx, &taskAPI.CloseIORequest{ID: "c", Stdin: true})
		return err
	}, everywhere(fine)},
	{"ResizePty", func(ctx context.Context, w *world) error {
		_, err := w.ResizePty(ctx, &taskAPI.ResizePtyRequest{ID: "c"})
		return err
	}, everywhere(fine)},
	{"Exec", func(ctx context.Context, w *world) error {
		return w.tryAdd(ctx, "c", "e")
	}, [10]error{absent, absent, fine, fine, refused, refused, refused, refused, refused, absent}},
	{"Start of an exec", func(ctx context.Context, w *world) error {
		_, err := w.Start(ctx, &taskAPI.StartRequest{ID: "c", ExecID: "e"})
		return err
	}, everywhere(absent)},
	{"Checkpoint", func(ctx context.Context, w *world) error {
		_, err := w.Checkpoint(ctx, &taskAPI.CheckpointTaskRequest{ID: "c"})
		return err
	}, everywhere(unwritten)},
}

func TestEveryCallInEveryState(t *testing.T) {
	for column, situation := range situations {
		for _, row := range matrix {
			t.Run(situation.name+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				answersAsWanted(t, situation.bring, row.call, row.want[column])
			})
		}
	}
}

// answersAsWanted makes one call in one situation.
func answersAsWanted(t *testing.T, bring func(*world) (undo func()), call func(context.Context, *world) error, want error) {
	t.Helper()
	w := newWorld(t)
	if undo := bring(w); undo != nil {
		defer undo()
	}
	// Long for a call that answers, short for one that must not.
	patience := 20 * time.Second
	if want == blocks {
		patience = 30 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- call(ctx, w) }()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("answered %v, want %v", err, want)
		}
	case <-time.After(patience + 10*time.Second):
		t.Error("no answer")
	}
}

func TestStatusInEveryState(t *testing.T) {
	want := map[string]task.Status{
		"created": task.Status_CREATED, "running": task.Status_RUNNING, "pausing": task.Status_PAUSING,
		"paused": task.Status_PAUSED, "resuming": task.Status_PAUSED, "stopped": task.Status_STOPPED, "deleting": task.Status_STOPPED,
	}
	for _, situation := range situations {
		status, ok := want[situation.name]
		if !ok {
			continue
		}
		t.Run(situation.name, func(t *testing.T) {
			w := newWorld(t)
			if undo := situation.bring(w); undo != nil {
				defer undo()
			}
			r, err := w.State(t.Context(), &taskAPI.StateRequest{ID: "c"})
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != status || r.ID != "c" || r.Pid == 0 {
				t.Errorf("state %v, want status %v, id c and a pid", r, status)
			}
			wantExit := uint32(0)
			if status == task.Status_STOPPED {
				wantExit = 7
			}
			if r.ExitStatus != wantExit {
				t.Errorf("exit status %d, want %d", r.ExitStatus, wantExit)
			}
		})
	}
}

// The ways to situations.

func (w *world) running(id string) *fakeGuest {
	w.t.Helper()
	g := w.create(id)
	if _, err := w.Start(w.t.Context(), &taskAPI.StartRequest{ID: id}); err != nil {
		w.t.Fatal(err)
	}
	return g
}

func (w *world) paused(id string) *fakeGuest {
	w.t.Helper()
	g := w.running(id)
	if _, err := w.Pause(w.t.Context(), &taskAPI.PauseRequest{ID: id}); err != nil {
		w.t.Fatal(err)
	}
	return g
}

func (w *world) stopped(id string) *fakeGuest {
	w.t.Helper()
	g := w.running(id)
	w.end(g.pid, 7)
	w.wait(id)
	return g
}

// await waits until a container's first process is in a state.
func (w *world) await(id string, want state) {
	w.t.Helper()
	c, err := w.wasm.container(id)
	if err != nil {
		w.t.Fatal(err)
	}
	w.awaitProcess(c.init, want)
}

func (w *world) awaitProcess(p *process, want state) {
	w.t.Helper()
	for range 10000 {
		p.container.mu.Lock()
		state := p.state
		p.container.mu.Unlock()
		if state == want {
			return
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatalf("%s does not become %s", p, want)
}
