package task

import (
	"context"
	"sync"

	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
)

// events forwards events to containerd, one by one and in the order in which
// they were sent. The queue has no bound and send never blocks, so that it can
// be called with a lock held: a daemon that is away must not stop containers.
type events struct {
	publisher shim.Publisher
	done      chan struct{} // closed once the queue is closed and empty

	mu      sync.Mutex
	more    *sync.Cond
	pending []any
	closed  bool
}

func newEvents(ctx context.Context, publisher shim.Publisher) *events {
	e := &events{publisher: publisher, done: make(chan struct{})}
	e.more = sync.NewCond(&e.mu)
	go e.forward(ctx)
	return e
}

// send queues an event, one of the messages of containerd's api/events.
func (e *events) send(event any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = append(e.pending, event)
	e.more.Signal()
}

func (e *events) forward(ctx context.Context) {
	defer close(e.done)
	for {
		e.mu.Lock()
		for len(e.pending) == 0 && !e.closed {
			e.more.Wait()
		}
		batch := e.pending
		e.pending = nil
		e.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, event := range batch {
			topic := runtime.GetTopic(event)
			if err := e.publisher.Publish(ctx, topic, event); err != nil {
				log.G(ctx).WithError(err).WithField("topic", topic).Error("event not published")
			}
		}
	}
}

// close waits until what has been sent is out, or ctx ends, and closes the publisher.
func (e *events) close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.more.Signal()
	e.mu.Unlock()
	select {
	case <-e.done:
	case <-ctx.Done():
	}
	return e.publisher.Close()
}
