package linux

import (
	"context"
	"strings"
	"testing"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
)

func newTasks(t *testing.T) *Tasks {
	t.Helper()
	made, err := New(namespaces.WithNamespace(t.Context(), "test"), func(event any) { t.Errorf("event %v", event) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := made.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return made
}

func TestWithoutRunc(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := newTasks(t).Create(t.Context(), &taskAPI.CreateTaskRequest{ID: "c", Bundle: t.TempDir()}, false)
	if !errdefs.IsFailedPrecondition(err) {
		t.Fatalf("Create answers %v", err)
	}
	for _, part := range []string{`container "c"`, `"runc"`, "install runc"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}

func TestNative(t *testing.T) {
	_, err := newTasks(t).State(t.Context(), &taskAPI.StateRequest{ID: "c"})
	if errdefs.IsNotFound(err) {
		t.Fatalf("%v is one of errdefs already", err)
	}
	if !errdefs.IsNotFound(Native(err)) {
		t.Errorf("%v was made of %v", Native(err), err)
	}
	if err := context.Canceled; Native(err) != err {
		t.Errorf("%v was made of %v", Native(err), err)
	}
	if Native(nil) != nil {
		t.Error("an error was made of none")
	}
}
