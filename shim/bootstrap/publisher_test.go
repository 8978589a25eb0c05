package bootstrap

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	eventsAPI "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// hub takes events as containerd does.
type hub struct {
	mu     sync.Mutex
	topics []string
}

func (h *hub) Forward(_ context.Context, r *eventsAPI.ForwardRequest) (*emptypb.Empty, error) {
	if r.Envelope.Topic == "/bad" {
		return nil, status.Error(codes.InvalidArgument, "no such topic")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.topics = append(h.topics, r.Envelope.Namespace+r.Envelope.Topic)
	return &emptypb.Empty{}, nil
}

func (h *hub) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.topics)
}

// serve lets the hub listen; stop ends it and all of its connections.
func (h *hub) serve(t *testing.T, path string) (stop func()) {
	t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	eventsAPI.RegisterTTRPCEventsService(server, h)
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	connections := &connections{Listener: listener}
	go server.Serve(context.Background(), connections)
	stop = sync.OnceFunc(func() {
		server.Close()
		connections.close() // which the server does in its own time
	})
	t.Cleanup(stop)
	return stop
}

// connections is a listener that knows what it has accepted.
type connections struct {
	net.Listener
	mu  sync.Mutex
	all []net.Conn
}

func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = append(c.all, conn)
	}
	return conn, err
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.all {
		conn.Close()
	}
}

func TestEventsWaitForContainerd(t *testing.T) {
	path := filepath.Join(socketDir(t), "events")
	h := &hub{}
	p, err := newPublisher(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := namespaces.WithNamespace(t.Context(), "ns")
	publish := func(topics ...string) chan error {
		done := make(chan error, 1)
		go func() {
			for _, topic := range topics {
				if err := p.Publish(ctx, topic, &eventtypes.TaskOOM{ContainerID: "c1"}); err != nil {
					done <- fmt.Errorf("%s: %w", topic, err)
					return
				}
			}
			done <- nil
		}()
		return done
	}
	result := func(done chan error) error {
		t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			t.Fatal("the event is still not published")
			panic("unreachable")
		}
	}

	stop := h.serve(t, path)
	if err := result(publish("/1")); err != nil {
		t.Fatal(err)
	}
	stop()
	waiting := publish("/2", "/3", "/4")
	time.Sleep(5 * firstRetry)
	select {
	case err := <-waiting:
		t.Fatalf("containerd is away, and Publish says %v", err)
	default:
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	stop = h.serve(t, path)
	if err := result(waiting); err != nil {
		t.Fatal(err)
	}
	if want, got := []string{"ns/1", "ns/2", "ns/3", "ns/4"}, h.got(); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}

	if err := result(publish("/bad")); status.Code(unwrapped(err)) != codes.InvalidArgument {
		t.Errorf("an event that containerd refuses: %v", err)
	}
	stop()
	waiting = publish("/5")
	time.Sleep(firstRetry)
	p.Close()
	if result(waiting) == nil {
		t.Error("published to nobody")
	}
	if err := p.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

// unwrapped is the innermost error.
func unwrapped(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = inner.Unwrap()
	}
}
