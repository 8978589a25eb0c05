package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	transfer "github.com/containerd/containerd/v2/core/transfer/streaming"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// stream finds the stream of a URI. It is in use until s is closed, so that a
// client who comes after the process has ended sees the end.
func (s *stdio) stream(where string) (*stream, error) {
	location, err := url.Parse(where)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	id := location.Query().Get("streaming_id")
	if id == "" {
		return nil, fmt.Errorf("%q has no streaming_id: %w", where, errdefs.ErrInvalidArgument)
	}
	found, leave := s.cfg.streaming.use(id)
	go func() {
		<-s.cut
		found.finish()
		leave()
	}()
	return found, nil
}

// openOutputStream returns the process's end of a pipe from which a goroutine
// carries to the stream.
func (s *stdio) openOutputStream(where string) (theirs *os.File, err error) {
	stream, err := s.stream(where)
	if err != nil {
		return nil, err
	}
	from, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.copies.Go(func() {
		carry(&streamWriter{stream: stream, cut: s.cut}, from)
		from.Close()
		stream.finish()
	})
	return theirs, nil
}

// streamWriter writes to whichever client is there.
type streamWriter struct {
	stream *stream
	cut    <-chan struct{}
	client *client
	writer io.Writer // to client
}

var errCut = errors.New("the stream has been cut")

// Write waits for a client, and for another where one goes away. What has been
// sent to that one and not been read counts as written.
func (w *streamWriter) Write(p []byte) (written int, err error) {
	for written < len(p) {
		if w.client == nil && !w.connect() {
			return written, errCut
		}
		n, err := w.writer.Write(p[written:])
		written += n
		if err != nil || w.client.isGone() {
			w.stream.disconnect(w.client)
			w.client = nil
		}
	}
	return written, nil
}

// connect waits for a client; it returns false if the stream is cut before.
func (w *streamWriter) connect() bool {
	if w.client = w.stream.next(w.cut); w.client == nil {
		return false
	}
	ctx, cancel := context.WithCancel(w.client.ctx)
	go func(c *client) {
		defer cancel()
		<-c.gone
	}(w.client)
	w.writer = transfer.WriteByteStream(ctx, w.client)
	return true
}

// openInputStream returns the process's end of a pipe into which a goroutine
// carries from the stream. The input ends where a client says so, not where it
// merely goes away.
func (s *stdio) openInputStream(where string) (theirs *os.File, err error) {
	stream, err := s.stream(where)
	if err != nil {
		return nil, err
	}
	theirs, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.input = to
	go func() {
		defer stream.finish()
		defer s.closeStdin()
		for {
			c := stream.next(s.cut)
			if c == nil {
				return
			}
			_, err := carry(to, transfer.ReadByteStream(c.ctx, c))
			if err == nil || errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EPIPE) {
				return // the input has ended, or the process has
			}
			stream.disconnect(c)
		}
	}()
	return theirs, nil
}
