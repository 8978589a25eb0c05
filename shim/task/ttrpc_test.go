package task

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	eventsAPI "github.com/containerd/containerd/api/events"
	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// dial serves the Task API and returns a connection to it.
func (w *world) dial() *ttrpc.Client {
	w.t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.RegisterTTRPC(server); err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(w.t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		w.t.Fatal(err)
	}
	go server.Serve(w.t.Context(), listener) //nolint:errcheck // ends with the server
	conn, err := net.Dial("unix", path)
	if err != nil {
		w.t.Fatal(err)
	}
	client := ttrpc.NewClient(conn)
	w.t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client
}

func TestEveryMethodIsServedInBothVersions(t *testing.T) {
	w := newWorld(t)
	methods := w.methods()
	for _, api := range []reflect.Type{reflect.TypeFor[taskv2.TTRPCTaskService](), reflect.TypeFor[taskAPI.TTRPCTaskService]()} {
		if api.NumMethod() != len(methods) {
			t.Errorf("%v has %d methods, %d are served", api, api.NumMethod(), len(methods))
		}
		for i := range api.NumMethod() {
			if methods[api.Method(i).Name] == nil {
				t.Errorf("%v.%s is not served", api, api.Method(i).Name)
			}
		}
	}
}

// The messages of both versions must stay the same but for their package.
func TestVersionsHaveTheSameMessages(t *testing.T) {
	v2, v3 := taskv2.File_runtime_task_v2_shim_proto.Messages(), taskAPI.File_runtime_task_v3_shim_proto.Messages()
	for i := range v2.Len() {
		old, now := v2.Get(i), v3.ByName(v2.Get(i).Name())
		if now == nil || old.Fields().Len() != now.Fields().Len() {
			t.Errorf("%s differs", old.FullName())
			continue
		}
		for j := range old.Fields().Len() {
			a, b := old.Fields().Get(j), now.Fields().ByNumber(old.Fields().Get(j).Number())
			if b == nil || a.Name() != b.Name() || a.Kind() != b.Kind() || a.Cardinality() != b.Cardinality() {
				t.Errorf("%s differs", a.FullName())
			}
		}
	}
}

func TestVersion2OverTheWire(t *testing.T) {
	w := newWorld(t)
	client := taskv2.NewTTRPCTaskClient(w.dial())
	ctx := t.Context()
	if _, err := client.State(ctx, &taskv2.StateRequest{ID: "c"}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("State of an unknown container answers %v", err)
	}
	bundle := w.bundle("c")
	made, err := client.Create(ctx, &taskv2.CreateTaskRequest{ID: "c", Bundle: bundle})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Start(ctx, &taskv2.StartRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	state, err := client.State(ctx, &taskv2.StateRequest{ID: "c"})
	if err != nil || state.Status != task.Status_RUNNING || state.Pid != made.Pid || state.Bundle != bundle {
		t.Errorf("State answers %v, %v", state, err)
	}
	if _, err := client.Kill(ctx, &taskv2.KillRequest{ID: "c", Signal: 15}); err != nil {
		t.Fatal(err)
	}
	exit, err := client.Wait(ctx, &taskv2.WaitRequest{ID: "c"})
	if err != nil || exit.ExitStatus != 143 || exit.ExitedAt.AsTime().After(time.Now()) {
		t.Errorf("Wait answers %v, %v", exit, err)
	}
	if r, err := client.Pids(ctx, &taskv2.PidsRequest{ID: "c"}); err != nil || len(r.Processes) != 1 || r.Processes[0].Pid != made.Pid {
		t.Errorf("Pids after the end answers %v, %v; a daemon that comes back would remove the shim", r, err)
	}
	if gone, err := client.Delete(ctx, &taskv2.DeleteRequest{ID: "c"}); err != nil || gone.ExitStatus != 143 {
		t.Errorf("Delete answers %v, %v", gone, err)
	}
	if _, err := client.Pids(ctx, &taskv2.PidsRequest{ID: "c"}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("Pids of a deleted container answers %v", err)
	}
}

func TestVersion3OverTheWire(t *testing.T) {
	w := newWorld(t)
	client := taskAPI.NewTTRPCTaskClient(w.dial())
	ctx := t.Context()
	if _, err := client.Create(ctx, &taskAPI.CreateTaskRequest{ID: "c", Bundle: w.bundle("c")}); err != nil {
		t.Fatal(err)
	}
	_, err := client.Resume(ctx, &taskAPI.ResumeRequest{ID: "c"})
	if err := errgrpc.ToNative(err); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), `container "c" cannot be resumed: it is created`) {
		t.Errorf("Resume answers %v", err)
	}
	if r, err := client.Pids(ctx, &taskAPI.PidsRequest{ID: "c"}); err != nil || len(r.Processes) != 1 {
		t.Errorf("Pids answers %v, %v", r, err)
	}
	if r, err := client.Stats(ctx, &taskAPI.StatsRequest{ID: "c"}); err != nil || !strings.HasSuffix(r.Stats.TypeUrl, "io.containerd.cgroups.v2.Metrics") {
		t.Errorf("Stats answers %v, %v", r, err)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	serve := method(func(context.Context, *taskAPI.StateRequest) (*taskAPI.StateResponse, error) { panic("broken") })
	_, err := serve(t.Context(), func(any) error { return nil })
	if err := errgrpc.ToNative(err); !errdefs.IsInternal(err) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("answered %v", err)
	}
	serve = method(func(context.Context, *taskAPI.StateRequest) (*emptypb.Empty, error) { return nil, errdefs.ErrNotFound })
	if answer, err := serve(t.Context(), func(any) error { return nil }); answer != nil || !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("answered %v, %v", answer, err)
	}
}

func TestErrorsAreOneLineForClients(t *testing.T) {
	serve := method(func(context.Context, *taskAPI.UpdateTaskRequest) (*emptypb.Empty, error) {
		return nil, fmt.Errorf("container: %w: %w", errors.New("bad"), errdefs.ErrInvalidArgument)
	})
	_, err := serve(t.Context(), func(any) error { return nil })
	if err := errgrpc.ToNative(err); !errdefs.IsInvalidArgument(err) || err.Error() != "container: bad: invalid argument" {
		t.Errorf("a client sees %q", err)
	}
	serve = method(func(context.Context, *taskAPI.UpdateTaskRequest) (*emptypb.Empty, error) {
		return nil, errors.New("bad")
	})
	_, err = serve(t.Context(), func(any) error { return nil })
	if err := errgrpc.ToNative(err); !errdefs.IsUnknown(err) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a client sees %q", err)
	}
}

func TestEventsStayInOrderAndAreFlushed(t *testing.T) {
	p := &recorder{block: make(chan struct{}), err: errors.New("daemon away")}
	e := newEvents(t.Context(), p)
	const n = 500
	for i := range n { // none of these may wait for the publisher
		e.send(&eventsAPI.TaskExit{Pid: uint32(i)})
	}
	close(p.block)
	if err := e.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, event := range p.sent {
		got = append(got, int(event.(*eventsAPI.TaskExit).Pid))
	}
	if len(got) != n || !slices.IsSorted(got) || p.closed != 1 {
		t.Errorf("%d events of %d, sorted %v, publisher closed %d times", len(got), n, slices.IsSorted(got), p.closed)
	}
}

func TestEventsAreNotWaitedForForever(t *testing.T) {
	p := &recorder{block: make(chan struct{})}
	e := newEvents(t.Context(), p)
	e.send(&eventsAPI.TaskOOM{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := e.close(ctx); err != nil || p.closed != 1 {
		t.Errorf("close: %v, publisher closed %d times", err, p.closed)
	}
	close(p.block)
	<-e.done
}
