package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
)

// wantGone waits until containerd has cleaned up after a task whose shim died.
// All that it says of the exit shall be that status.
func wantGone(t *testing.T, b *box, exits *exitWatch, code uint32) {
	t.Helper()
	eventually(t, b.ID()+" is gone", func() bool {
		_, err := client.TaskService().Delete(namespaced(t.Context()), &tasks.DeleteTaskRequest{ContainerID: b.ID()})
		return errdefs.IsNotFound(errgrpc.ToNative(err))
	})
	eventually(t, "the exit of "+b.ID(), func() bool { return len(exits.of(b.ID())) > 0 })
	if got := slices.Compact(exits.of(b.ID())); !slices.Equal(got, []uint32{code}) {
		t.Errorf("TaskExit of %s with the statuses %d, not %d", b.ID(), got, code)
	}
}

// exitWatch collects what TaskExit events say of the first processes.
type exitWatch struct {
	mu       sync.Mutex
	statuses map[string][]uint32 // by container id
}

// watchExits listens from now until the test's end, or until containerd ends.
func watchExits(t *testing.T, c *containerd.Client) *exitWatch {
	t.Helper()
	w := &exitWatch{statuses: map[string][]uint32{}}
	w.listen(t, c)
	return w
}

func (w *exitWatch) listen(t *testing.T, c *containerd.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(namespaced(context.Background()))
	t.Cleanup(cancel)
	messages, errs := c.EventService().Subscribe(ctx, fmt.Sprintf(`namespace==%q,topic=="/tasks/exit"`, engine.Namespace))
	go func() {
		for {
			select {
			case m := <-messages:
				event, err := typeurl.UnmarshalAny(m.Event)
				e, ok := event.(*eventtypes.TaskExit)
				if err != nil || !ok {
					t.Errorf("event %s: %v, %v", m.Topic, event, err)
				} else if e.ID == e.ContainerID {
					w.note(e.ContainerID, e.ExitStatus)
				}
			case <-errs:
				return
			}
		}
	}()
	// The subscription takes effect at some time after the call; an event of
	// our own shows when.
	id := newID(t)
	eventually(t, "the subscription to events", func() bool {
		if err := c.EventService().Publish(ctx, "/tasks/exit", &eventtypes.TaskExit{ContainerID: id, ID: id}); err != nil {
			t.Fatalf("publish an event: %v", err)
		}
		return len(w.of(id)) > 0
	})
}

func (w *exitWatch) note(id string, status uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statuses[id] = append(w.statuses[id], status)
}

// of is what was told of a container so far, in order.
func (w *exitWatch) of(id string) []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.statuses[id])
}
