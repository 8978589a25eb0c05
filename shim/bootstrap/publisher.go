package bootstrap

import (
	"context"
	"sync"
	"time"

	eventsAPI "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/containerd/v2/pkg/ttrpcutil"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	forwardTimeout  = 5 * time.Second
	firstRetry      = 50 * time.Millisecond
	longestInterval = 5 * time.Second
)

// publisher forwards events to containerd, and waits for one that is away. The
// library's gives an event up after a quarter of a minute, and sends those that
// follow meanwhile, so that the daemon that comes back may be told of a
// container's end before that of a process in it, or never.
type publisher struct {
	client *ttrpcutil.Client
	closed chan struct{}
	once   sync.Once
}

// newPublisher returns a publisher to the ttrpc socket of containerd. It connects
// with the first event.
func newPublisher(address string, opts ...ttrpc.ClientOpts) (*publisher, error) {
	client, err := ttrpcutil.NewClient(address, opts...)
	if err != nil {
		return nil, err
	}
	return &publisher{client: client, closed: make(chan struct{})}, nil
}

// Publish returns once containerd has the event. It fails where containerd does
// not want it, or at the end of ctx or of the publisher. Events keep their order
// if it is called for one after the other.
func (p *publisher) Publish(ctx context.Context, topic string, event events.Event) error {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return err
	}
	packed, err := typeurl.MarshalAnyToProto(event)
	if err != nil {
		return err
	}
	request := &eventsAPI.ForwardRequest{Envelope: &types.Envelope{
		Timestamp: protobuf.ToTimestamp(time.Now()),
		Namespace: namespace,
		Topic:     topic,
		Event:     packed,
	}}
	for wait := firstRetry; ; wait = min(2*wait, longestInterval) {
		err := p.forward(ctx, request)
		if err == nil || refused(err) {
			return err
		}
		if wait == firstRetry {
			log.G(ctx).WithError(err).WithField("topic", topic).Warn("containerd does not take an event; trying until it does")
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		case <-p.closed:
			return err
		}
		// An error is for the next attempt to find.
		_ = p.client.Reconnect()
	}
}

func (p *publisher) forward(ctx context.Context, request *eventsAPI.ForwardRequest) error {
	service, err := p.client.EventsService()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	_, err = service.Forward(ctx, request)
	return err
}

// refused says of an error that it is containerd's answer, and would be again.
func refused(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() != codes.Unavailable && s.Code() != codes.DeadlineExceeded && s.Code() != codes.Canceled
}

// Close ends a Publish that waits. It may be called again.
func (p *publisher) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.client.Close()
}
