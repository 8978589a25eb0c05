package task

import (
	"context"
	"fmt"
	"sync"

	streamingAPI "github.com/containerd/containerd/api/services/streaming/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// streamingScheme is that of URIs which name a stream of the Streaming API on
// this shim's own socket: ttrpc+unix:///path/of/socket?streaming_id=ID. CRI gives
// them where a runtime's io_type is "streaming" (internal/cri/io/helpers.go).
const streamingScheme = "ttrpc+unix"

// streaming has the streams of the Streaming API by their ids. A client connects
// before or after the process is made that a stream is for, and once more with
// the same id after it was away.
type streaming struct {
	mu      sync.Mutex
	streams map[string]*stream
}

// stream is one place that a client connects to, or will.
type stream struct {
	mu      sync.Mutex
	client  *client       // connected now; nil if none is
	changed chan struct{} // closed when client changes
	over    bool          // no more is carried: clients are sent away
	users   int           // processes and clients; streaming's mu guards it
}

// client is one connection. It is the streaming.Stream of containerd's transfer
// package, which carries bytes over it.
type client struct {
	streamingAPI.TTRPCStreaming_StreamServer
	ctx  context.Context // ends with the connection
	gone chan struct{}   // closed by Close
	once sync.Once
}

func newStreaming() *streaming { return &streaming{streams: make(map[string]*stream)} }

// use returns the stream of that id, which is there until each user calls leave.
func (s *streaming) use(id string) (_ *stream, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.streams[id]
	if found == nil {
		found = &stream{changed: make(chan struct{})}
		s.streams[id] = found
	}
	found.users++
	return found, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if found.users--; found.users == 0 {
			delete(s.streams, id)
		}
	}
}

// Stream serves one connection until the stream or the connection ends.
func (s *streaming) Stream(ctx context.Context, server streamingAPI.TTRPCStreaming_StreamServer) error {
	first, err := server.Recv()
	if err != nil {
		return err
	}
	var init streamingAPI.StreamInit
	if err := typeurl.UnmarshalTo(first, &init); err != nil {
		return errgrpc.ToGRPC(fmt.Errorf("a stream must begin with its id: %w: %w", err, errdefs.ErrInvalidArgument))
	}
	ready, err := typeurl.MarshalAnyToProto(&emptypb.Empty{})
	if err != nil {
		return err
	}
	stream, leave := s.use(init.ID)
	defer leave()
	if err := server.Send(ready); err != nil {
		return err
	}
	c := &client{TTRPCStreaming_StreamServer: server, ctx: ctx, gone: make(chan struct{})}
	stream.connect(c)
	defer stream.disconnect(c)
	select {
	case <-c.gone:
	case <-ctx.Done():
	}
	return nil
}

func (c *client) Send(message typeurl.Any) error {
	return c.TTRPCStreaming_StreamServer.Send(&anypb.Any{TypeUrl: message.GetTypeUrl(), Value: message.GetValue()})
}

func (c *client) Recv() (typeurl.Any, error) { return c.TTRPCStreaming_StreamServer.Recv() }

// Close ends the connection: the client sees an end of file.
func (c *client) Close() error {
	c.once.Do(func() { close(c.gone) })
	return nil
}

func (c *client) isGone() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// connect makes c the stream's client, instead of one that was there.
func (s *stream) connect(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		c.Close()
		return
	}
	s.change(c)
}

func (s *stream) disconnect(c *client) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == c {
		s.change(nil)
	}
}

// change sets the client; mu is held.
func (s *stream) change(c *client) {
	if s.client != nil {
		s.client.Close()
	}
	s.client = c
	close(s.changed)
	s.changed = make(chan struct{})
}

// finish ends the stream for the client that is there and for those to come.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.change(nil)
}

// next waits for a client; nil after cut is closed.
func (s *stream) next(cut <-chan struct{}) *client {
	for {
		s.mu.Lock()
		c, changed := s.client, s.changed
		s.mu.Unlock()
		if c != nil {
			return c
		}
		select {
		case <-changed:
		case <-cut:
			return nil
		}
	}
}
