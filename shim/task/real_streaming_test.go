package task

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	corestreaming "github.com/containerd/containerd/v2/core/streaming"
	"github.com/containerd/containerd/v2/core/streaming/proxy"
	transfer "github.com/containerd/containerd/v2/core/transfer/streaming"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// socket serves the shim's APIs and returns the socket's path.
func (r *real) socket() string {
	r.t.Helper()
	server, err := ttrpc.NewServer()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.RegisterTTRPC(server); err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		r.t.Fatal(err)
	}
	go server.Serve(r.t.Context(), listener) //nolint:errcheck // ends with the server
	r.t.Cleanup(func() { server.Close() })
	return path
}

// attach connects to a stream as CRI does: with a connection of its own.
func attach(t *testing.T, socket, id string) (_ corestreaming.Stream, hangUp func()) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	client := ttrpc.NewClient(conn)
	t.Cleanup(func() { client.Close() })
	stream, err := proxy.NewStreamCreator(client).Create(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return stream, func() { client.Close() }
}

func readStream(t *testing.T, stream corestreaming.Stream) <-chan string {
	result := make(chan string, 1)
	go func() {
		data, err := io.ReadAll(transfer.ReadByteStream(t.Context(), stream))
		if err != nil {
			t.Error(err)
		}
		result <- string(data)
	}()
	return result
}

func streamURI(socket, id string) string {
	return "ttrpc+unix://" + socket + "?streaming_id=" + id
}

func TestRealStreams(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		name := "pipes"
		if terminal {
			name = "terminal"
		}
		t.Run(name, func(t *testing.T) {
			r := newReal(t)
			socket := r.socket()
			request := r.request("c", copies, func(s *specs.Spec) { s.Process.Terminal = terminal })
			request.Terminal = terminal
			request.Stdin, request.Stdout = streamURI(socket, "c-stdin"), streamURI(socket, "c-stdout")
			// One connects before the process is there, the other after.
			early, _ := attach(t, socket, "c-stdout")
			output := readStream(t, early)
			r.create(request)
			r.start("c")
			late, _ := attach(t, socket, "c-stdin")
			input := transfer.WriteByteStream(t.Context(), late)
			// More than a window of the protocol, and than a pipe, holds.
			text := strings.Repeat("a line of some length\n", 20000)
			want := text
			if terminal {
				text = "a line\n"
				want = "a line\r\na line\r\n"
			}
			if _, err := io.WriteString(input, text); err != nil {
				t.Fatal(err)
			}
			if err := input.Close(); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, output); got != want {
				t.Errorf("read %d bytes, want %d", len(got), len(want))
			}
			if status := r.wait("c"); status != 0 {
				t.Errorf("exit status %d, want 0", status)
			}
			// Who comes after the end sees the end.
			after, _ := attach(t, socket, "c-stdout")
			if got := receive(t, readStream(t, after)); got != "" {
				t.Errorf("read %q after the end", got)
			}
			r.remove("c")
			for i := 0; r.wasm.streaming.count() > 0; i++ {
				if i == 5000 {
					t.Fatalf("%d streams are left", r.wasm.streaming.count())
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// A client that goes away is no end: the guest goes on with the next one.
func TestRealStreamsOutliveTheirClients(t *testing.T) {
	r := newReal(t)
	socket := r.socket()
	request := r.request("c", copies)
	request.Stdin, request.Stdout = streamURI(socket, "in"), streamURI(socket, "out")
	r.create(request)
	r.start("c")
	in, hangUpIn := attach(t, socket, "in")
	out, hangUpOut := attach(t, socket, "out")
	if _, err := io.WriteString(transfer.WriteByteStream(t.Context(), in), "one\n"); err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 16)
	if n, err := transfer.ReadByteStream(t.Context(), out).Read(one); string(one[:n]) != "one\n" {
		t.Fatalf("read %q, %v", one[:n], err)
	}
	hangUpIn()
	hangUpOut()
	for i := 0; r.wasm.streaming.connected() > 0; i++ {
		if i == 5000 {
			t.Fatal("the shim does not see that its clients have gone")
		}
		time.Sleep(time.Millisecond)
	}
	in, _ = attach(t, socket, "in")
	input := transfer.WriteByteStream(t.Context(), in)
	if _, err := io.WriteString(input, "two\n"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the guest writes while nobody reads
	out, _ = attach(t, socket, "out")
	output := transfer.ReadByteStream(t.Context(), out)
	two := make([]byte, 4)
	if _, err := io.ReadFull(output, two); err != nil || string(two) != "two\n" {
		t.Errorf("read %q, %v", two, err)
	}
	if _, err := r.CloseIO(t.Context(), &taskAPI.CloseIORequest{ID: "c", Stdin: true}); err != nil {
		t.Fatal(err)
	}
	if status := r.wait("c"); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if rest, err := io.ReadAll(output); err != nil || len(rest) > 0 {
		t.Errorf("read %q, %v after the end", rest, err)
	}
}

func (s *streaming) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// connected counts the clients.
func (s *streaming) connected() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stream := range s.streams {
		stream.mu.Lock()
		if stream.client != nil {
			n++
		}
		stream.mu.Unlock()
	}
	return n
}

// A container whose streams nobody takes can be killed and deleted; what they
// held is lost after a while.
func TestRealStreamsThatNobodyTakes(t *testing.T) {
	r := newReal(t)
	socket := r.socket()
	request := r.request("c", hello)
	request.Stdout = streamURI(socket, "out")
	r.create(request)
	r.start("c")
	if status := r.wait("c"); status != 3 {
		t.Errorf("exit status %d, want 3", status)
	}
	_, p, err := r.wasm.process("c", "")
	if err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	p.stdio.close(done) // what a deletion does, with less patience
	r.remove("c")
}
