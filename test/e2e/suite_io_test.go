package e2e

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
)

// TestClientOutput reads a task's output to its end, after which the task can
// be deleted.
func TestClientOutput(t *testing.T) {
	leavesNothing(t)
	b := plan{guest: "hello-c"}.start(t)
	b.task.IO().Wait()
	if got := b.stdout.String(); got != "hello from c\n" || b.stderr.String() != "" {
		t.Errorf("stdout %q, stderr %q", got, b.stderr)
	}
	b.waitCode(t, 0)
}

// TestClientNoStdin gives a guest that reads nothing to read.
func TestClientNoStdin(t *testing.T) {
	for name, creator := range map[string]cio.Creator{
		"nil":  cio.NewCreator(cio.WithStreams(nil, io.Discard, io.Discard)),
		"null": cio.NullIO,
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			b := plan{guest: "cat", io: creator}.start(t)
			b.waitCode(t, 0)
		})
	}
}

// TestClientCloseIO ends a guest that reads until there is no more: the client
// lets go of its end and asks the runtime to let go of its own.
func TestClientCloseIO(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	stdin, feed := io.Pipe()
	defer feed.Close()
	b := plan{guest: "cat", stdin: stdin}.start(t)
	if _, err := feed.Write([]byte("one\n")); err != nil {
		t.Fatal(err)
	}
	b.stdout.waitFor(t, "one")
	if err := b.task.CloseIO(ctx, containerd.WithStdinCloser); err != nil {
		t.Fatal(err)
	}
	// The client still writes, and the guest still reads.
	if _, err := feed.Write([]byte("two\n")); err != nil {
		t.Fatal(err)
	}
	b.stdout.waitFor(t, "two")
	if status := b.status(t); status != containerd.Running {
		t.Fatalf("the task is %s while the client can write", status)
	}
	feed.Close()
	b.waitCode(t, 0)
}

// TestClientStdinStays keeps a guest waiting for more as long as nobody has
// closed its input, though no client is there.
func TestClientStdinStays(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	f := openFIFOs(t)
	b := plan{guest: "cat", io: f.create}.start(t)
	f.write(t, "one\n")
	f.stdout.waitFor(t, "one")
	f.Stdin.Close()
	time.Sleep(300 * time.Millisecond)
	if status := b.status(t); status != containerd.Running {
		t.Fatalf("the task is %s after its client went away", status)
	}
	if err := b.task.CloseIO(ctx, containerd.WithStdinCloser); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 0)
}

// TestClientAttach loads a container and its task anew and goes on with both
// streams.
func TestClientAttach(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	f := openFIFOs(t)
	b := plan{guest: "cat", io: f.create}.start(t)
	f.write(t, "before\n")

	loaded, err := client.LoadContainer(ctx, b.ID())
	if err != nil {
		t.Fatal(err)
	}
	task, err := loaded.Task(ctx, f.attach)
	if err != nil {
		t.Fatal(err)
	}
	if task.Pid() != b.task.Pid() {
		t.Errorf("the pid %d became %d", b.task.Pid(), task.Pid())
	}
	if spec, err := task.Spec(ctx); err != nil || spec.Process.Args[0] != "/cat.wasm" {
		t.Errorf("the loaded task's spec: %v", err)
	}
	f.finish(t, task)
	b.waitCode(t, 0)
	f.ended(t)
	if got := f.stdout.String(); got != "before\nafter\n" {
		t.Errorf("stdout %q", got)
	}
}

// TestClientLateReader has a client that reads nothing until the guest is blocked,
// and then everything.
func TestClientLateReader(t *testing.T) {
	leavesNothing(t)
	const size = 1 << 20 // more than a pipe holds
	stdout := &gate{opened: make(chan struct{})}
	stdin := strings.NewReader(strings.Repeat("x", size))
	b := plan{guest: "cat", io: cio.NewCreator(cio.WithStreams(stdin, stdout, io.Discard))}.start(t)
	time.Sleep(300 * time.Millisecond)
	if status := b.status(t); status != containerd.Running {
		t.Errorf("the task is %s though nobody reads its output", status)
	}
	close(stdout.opened)
	// The input has no end before somebody says so.
	if err := b.task.CloseIO(namespaced(t.Context()), containerd.WithStdinCloser); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 0)
	b.task.IO().Wait()
	if got := len(stdout.String()); got != size {
		t.Errorf("%d bytes of %d", got, size)
	}
}

// gate takes no output before it is opened.
type gate struct {
	output
	opened chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.opened
	return g.output.Write(p)
}

// TestClientStalled kills and deletes a task that is blocked because nobody
// reads what it writes.
func TestClientStalled(t *testing.T) {
	leavesNothing(t)
	stdout := &gate{opened: make(chan struct{})}
	defer close(stdout.opened)
	stdin := strings.NewReader(strings.Repeat("x", 1<<20))
	b := plan{guest: "cat", io: cio.NewCreator(cio.WithStreams(stdin, stdout, io.Discard))}.start(t)
	time.Sleep(200 * time.Millisecond)
	b.kill(t, syscall.SIGKILL)
	b.waitCode(t, 137)
}
