package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"
)

// watcher collects the task events of one container.
type watcher struct {
	mu     sync.Mutex
	topics []string
}

const probe = "/tasks/watched"

// watch listens to the events of a container that is yet to be created.
func watch(t *testing.T, id string) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(namespaced(context.Background()))
	t.Cleanup(cancel)
	w := &watcher{}
	messages, errs := client.EventService().Subscribe(ctx,
		fmt.Sprintf(`namespace==%q,topic~=%q`, engine.Namespace, "^/tasks/"))
	go func() {
		for {
			select {
			case m := <-messages:
				w.note(t, id, m)
			case <-errs:
				return
			}
		}
	}()
	// The subscription takes effect at some time after the call; an event of
	// our own shows when.
	eventually(t, "the subscription to events", func() bool {
		if err := client.EventService().Publish(ctx, probe, &eventtypes.TaskPaused{ContainerID: id}); err != nil {
			t.Fatalf("publish an event: %v", err)
		}
		return slices.Contains(w.seen(), probe)
	})
	return w
}

func (w *watcher) note(t *testing.T, id string, m *events.Envelope) {
	event, err := typeurl.UnmarshalAny(m.Event)
	if err != nil {
		t.Errorf("event %s: %v", m.Topic, err)
		return
	}
	if e, ok := event.(interface{ GetContainerID() string }); ok && e.GetContainerID() == id {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.topics = append(w.topics, m.Topic)
	}
}

// seen returns the topics so far, in order.
func (w *watcher) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.topics)
}

// ofTask returns the topics of the task so far, in order.
func (w *watcher) ofTask() []string {
	return slices.DeleteFunc(w.seen(), func(topic string) bool { return topic == probe })
}

// waitFor waits for an event.
func (w *watcher) waitFor(t *testing.T, topic string) {
	t.Helper()
	eventually(t, "event "+topic, func() bool { return slices.Contains(w.seen(), topic) })
}
