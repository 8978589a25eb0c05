package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	"github.com/containerd/cgroups/v3/cgroup2/stats"
	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestLifeOfAContainer(t *testing.T) {
	w := newWorld(t)
	g := w.running("c")
	if g.cfg.Rootfs == "" || !slices.Equal(g.cfg.Module.Args, []string{"/app.wasm"}) {
		t.Errorf("the sandbox was asked for %+v", g.cfg)
	}
	state, err := bundle.Read(g.bundle())
	if err != nil || state.ID != "c" || state.Pid != g.pid || state.CgroupPath != "/test/c" || state.ExitStatus != nil {
		t.Errorf("state of a running container in its bundle: %+v, %v", state, err)
	}
	connect, err := w.Connect(t.Context(), &taskAPI.ConnectRequest{ID: "c"})
	if err != nil || connect.TaskPid != uint32(g.pid) || connect.ShimPid != uint32(os.Getpid()) {
		t.Errorf("Connect answers %v, %v", connect, err)
	}
	w.end(g.pid, 3)
	if status := w.wait("c"); status != 3 {
		t.Errorf("exit status %d, want 3", status)
	}
	state, err = bundle.Read(g.bundle())
	if err != nil || state.ExitStatus == nil || *state.ExitStatus != 3 || state.ExitedAt.IsZero() {
		t.Errorf("state of an ended container in its bundle: %+v, %v", state, err)
	}
	deleted, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c"})
	if err != nil || deleted.ExitStatus != 3 || deleted.Pid != uint32(g.pid) || deleted.ExitedAt.AsTime().IsZero() {
		t.Errorf("Delete answers %v, %v", deleted, err)
	}
	if n := w.group("c").deleted; n != 1 {
		t.Errorf("cgroup deleted %d times, want once", n)
	}
	if connect, err := w.Connect(t.Context(), &taskAPI.ConnectRequest{ID: "c"}); err != nil || connect.TaskPid != 0 {
		t.Errorf("Connect of an unknown container answers %v, %v, want pid 0", connect, err)
	}
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"}
	if got := w.published(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	exit := event[*eventsAPI.TaskExit](w)
	if exit.ID != "c" || exit.ContainerID != "c" || exit.ExitStatus != 3 || exit.Pid != uint32(g.pid) {
		t.Errorf("TaskExit %v", exit)
	}
}

// A guest can be over before Start has returned; its exit must neither be lost
// nor be told of first.
func TestExitNeverBeforeStart(t *testing.T) {
	w := newWorld(t)
	g := w.create("c")
	g.onStart = func() {
		w.end(g.pid, 0)
		time.Sleep(20 * time.Millisecond) // for the exit to get as far as it can
	}
	if _, err := w.Start(t.Context(), &taskAPI.StartRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	w.wait("c")
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exit"}
	if got := w.published(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// The exit of a process may be delivered before the launch has returned.
func TestExitDuringCreateIsNotLost(t *testing.T) {
	w := newWorld(t)
	w.launching = func(_ context.Context, _ sandbox.Config, g *fakeGuest) error {
		w.end(g.pid, 137)
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	w.create("c")
	if status := w.wait("c"); status != 137 {
		t.Errorf("exit status %d, want 137", status)
	}
	if _, err := w.Start(t.Context(), &taskAPI.StartRequest{ID: "c"}); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "137") {
		t.Errorf("Start of an ended container answers %v", err)
	}
	want := []string{"/tasks/create", "/tasks/exit"}
	if got := w.published(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestExitsGoToWhomTheyConcern(t *testing.T) {
	e := newExits()
	e.deliver(runc.Exit{Pid: 1}) // before any launch: nobody's
	first, second := e.begin(), e.begin()
	e.deliver(runc.Exit{Pid: 2, Status: 20})
	if got := <-first.claim(2); got.Status != 20 {
		t.Errorf("early exit %+v", got)
	}
	// The pid is in use again: neither launch may see the former exit.
	for range 2 {
		again := second.claim(2)
		select {
		case got := <-again:
			t.Fatalf("claim of a new process got the exit %+v of a former one", got)
		default:
		}
		defer func() { <-again }()
	}
	late := first.claim(1)
	first.end()
	second.end()
	e.deliver(runc.Exit{Pid: 1, Status: 10})
	if got := <-late; got.Status != 10 {
		t.Errorf("late exit %+v", got)
	}
	e.deliver(runc.Exit{Pid: 2, Status: 21})
	e.deliver(runc.Exit{Pid: 2, Status: 22})
	if len(e.waiting) != 0 || len(e.launches) != 0 {
		t.Errorf("left behind: %v %v", e.waiting, e.launches)
	}
}

func TestDeleteOfAnUnstartedContainer(t *testing.T) {
	w := newWorld(t)
	w.create("c")
	r, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c"})
	if err != nil || r.ExitStatus != 137 {
		t.Errorf("Delete answers %v, %v, want exit status 137", r, err)
	}
	want := []string{"/tasks/create", "/tasks/exit", "/tasks/delete"}
	if got := w.published(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestDeleteCanBeTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.stopped("c")
	group := w.group("c")
	group.deleteErr = errors.New("device or resource busy")
	if _, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c"}); err == nil || !strings.Contains(err.Error(), "busy") || !strings.Contains(err.Error(), `"c"`) {
		t.Fatalf("Delete answers %v", err)
	}
	group.deleteErr = nil
	if _, err := w.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if got := w.published(); slices.Index(got, "/tasks/delete") != len(got)-1 {
		t.Errorf("events %v, want one deletion at the end", got)
	}
}

func TestManyWaiters(t *testing.T) {
	w := newWorld(t)
	g := w.running("c")
	var waiters sync.WaitGroup
	for range 50 {
		waiters.Go(func() {
			if status := w.wait("c"); status != 9 {
				t.Errorf("exit status %d, want 9", status)
			}
		})
	}
	w.end(g.pid, 9)
	waiters.Wait()
}

func TestKilledWhilePaused(t *testing.T) {
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprintf("all=%v", all), func(t *testing.T) {
			w := newWorld(t)
			w.paused("c")
			if _, err := w.Kill(t.Context(), &taskAPI.KillRequest{ID: "c", Signal: uint32(syscall.SIGKILL), All: all}); err != nil {
				t.Fatal(err)
			}
			if status := w.wait("c"); status != 137 {
				t.Errorf("exit status %d, want 137", status)
			}
		})
	}
}

func TestKilledWhileBeingPaused(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	w.prepare = func(g *fakeGroup) { g.freezing = hold }
	w.running("c")
	group := w.group("c")
	group.mu.Lock()
	group.frozen = true // the frost is there, but Freeze has not returned
	group.mu.Unlock()
	answer := make(chan error, 1)
	go func() {
		_, err := w.Pause(t.Context(), &taskAPI.PauseRequest{ID: "c"})
		answer <- err
	}()
	w.await("c", pausing)
	if _, err := w.Kill(t.Context(), &taskAPI.KillRequest{ID: "c", Signal: uint32(syscall.SIGKILL)}); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if err := <-answer; err == nil {
		t.Error("Pause of a killed container succeeded")
	}
	if status := w.wait("c"); status != 137 {
		t.Errorf("exit status %d, want 137", status)
	}
	if got := w.published(); slices.Contains(got, "/tasks/paused") {
		t.Errorf("events %v", got)
	}
}

func TestFailedPauseAndResume(t *testing.T) {
	w := newWorld(t)
	w.running("c")
	group := w.group("c")
	group.freezeErr = errors.New("no freezer")
	if _, err := w.Pause(t.Context(), &taskAPI.PauseRequest{ID: "c"}); err == nil || !strings.Contains(err.Error(), "no freezer") {
		t.Errorf("Pause answers %v", err)
	}
	w.await("c", running)
	group.freezeErr = nil
	if _, err := w.Pause(t.Context(), &taskAPI.PauseRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	group.thawErr = errors.New("stuck")
	if _, err := w.Resume(t.Context(), &taskAPI.ResumeRequest{ID: "c"}); err == nil || !strings.Contains(err.Error(), "stuck") {
		t.Errorf("Resume answers %v", err)
	}
	w.await("c", paused)
	group.thawErr = nil
	if _, err := w.Resume(t.Context(), &taskAPI.ResumeRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"/tasks/create", "/tasks/start", "/tasks/paused", "/tasks/resumed"}
	if got := w.published(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestOutOfMemoryIsToldOncePerKillAndBeforeTheExit(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("watcher=%v", told), func(t *testing.T) {
			w := newWorld(t)
			g := w.running("c")
			w.group("c").outOfMemory(told)
			w.end(g.pid, 137)
			w.wait("c")
			if told {
				w.group("c").onOOM() // a watcher that comes late has nothing new to tell
			}
			want := []string{"/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit"}
			if got := w.published(); !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
		})
	}
}

func TestStatsAfterExitAreTheLast(t *testing.T) {
	w := newWorld(t)
	g := w.running("c")
	measure := func() *stats.Metrics {
		t.Helper()
		r, err := w.Stats(t.Context(), &taskAPI.StatsRequest{ID: "c"})
		if err != nil {
			t.Fatal(err)
		}
		v, err := typeurl.UnmarshalAny(r.Stats)
		if err != nil {
			t.Fatal(err)
		}
		return v.(*stats.Metrics)
	}
	if n := measure().Pids.Current; n != 1 {
		t.Errorf("%d processes while running, want 1", n)
	}
	w.end(g.pid, 0)
	w.wait("c")
	w.group("c").metricsErr = errors.New("asked again")
	if n := measure().Pids.Current; n != 0 {
		t.Errorf("%d processes at exit, want 0", n)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.running("c")
	body := []byte(`{"memory":{"limit":1048576}}`)
	if _, err := w.Update(t.Context(), &taskAPI.UpdateTaskRequest{ID: "c", Resources: &anypb.Any{Value: body}}); err != nil {
		t.Fatal(err)
	}
	updates := w.group("c").updates
	if len(updates) != 1 || *updates[0].Memory.Limit != 1<<20 {
		t.Errorf("updates %+v", updates)
	}
	for _, bad := range []*anypb.Any{nil, {Value: []byte("{")}} {
		if _, err := w.Update(t.Context(), &taskAPI.UpdateTaskRequest{ID: "c", Resources: bad}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("Update to %v answers %v", bad, err)
		}
	}
}

// A daemon that comes back asks each shim about its containers; a long
// compilation must not hold the answers up.
func TestAnswersWhileAModuleCompiles(t *testing.T) {
	w := newWorld(t)
	w.running("other")
	hold, entered := make(chan struct{}), make(chan struct{})
	w.launching = func(context.Context, sandbox.Config, *fakeGuest) error { close(entered); <-hold; return nil }
	w.background.Go(func() { w.Create(w.t.Context(), &taskAPI.CreateTaskRequest{ID: "c", Bundle: w.bundle("c")}) })
	defer close(hold)
	<-entered
	if _, err := w.Connect(t.Context(), &taskAPI.ConnectRequest{ID: "c"}); err != nil {
		t.Error(err)
	}
	if _, err := w.Pids(t.Context(), &taskAPI.PidsRequest{ID: "other"}); err != nil {
		t.Error(err)
	}
	if _, err := w.State(t.Context(), &taskAPI.StateRequest{ID: "other"}); err != nil {
		t.Error(err)
	}
}

// bundle is the directory of the guest's container.
func (g *fakeGuest) bundle() string { return filepath.Dir(g.cfg.Rootfs) }
