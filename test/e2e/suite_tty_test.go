package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"golang.org/x/sys/unix"
)

// TestClientTerminal runs a guest on a terminal, which turns each of its lines'
// ends into two characters.
func TestClientTerminal(t *testing.T) {
	leavesNothing(t)
	stdout := &output{}
	b := plan{
		guest: "hello-c",
		spec:  []oci.SpecOpts{oci.WithTTY},
		io:    cio.NewCreator(cio.WithStreams(nil, stdout, nil), cio.WithTerminal),
	}.start(t)
	b.waitCode(t, 0)
	b.task.IO().Wait()
	if got := stdout.String(); got != "hello from c\r\n" {
		t.Errorf("the terminal shows %q", got)
	}
}

// TestClientResize sets a terminal's size before and after the start.
func TestClientResize(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	stdout := &output{}
	p := tool(t, "/sleep.wasm", "600000")
	p.spec = append(p.spec, oci.WithTTY)
	p.io = cio.NewCreator(cio.WithStreams(nil, stdout, nil), cio.WithTerminal)
	b := p.create(t)
	if err := b.task.Resize(ctx, 12, 34); err != nil {
		t.Fatal(err)
	}
	if got := terminalSize(t, b.task.Pid()); got != "12x34" {
		t.Errorf("before the start the terminal has %s characters", got)
	}
	if err := b.task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	stdout.waitFor(t, "sleeping")
	if err := b.task.Resize(ctx, 100, 50); err != nil {
		t.Fatal(err)
	}
	if got := terminalSize(t, b.task.Pid()); got != "100x50" {
		t.Errorf("the terminal has %s characters", got)
	}

	// A further process has a terminal of its own.
	shown := &output{}
	child := b.spawn(t, "child", cio.NewCreator(cio.WithStreams(nil, shown, nil), cio.WithTerminal), "/sleep.wasm", "600000").start(t)
	shown.waitFor(t, "sleeping")
	if err := child.Resize(ctx, 20, 10); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[uint32]string{child.Pid(): "20x10", b.task.Pid(): "100x50"} {
		if got := terminalSize(t, pid); got != want {
			t.Errorf("the terminal of process %d has %s characters, not %s", pid, got, want)
		}
	}
	if _, err := child.Delete(ctx, containerd.WithProcessKill); err != nil {
		t.Error(err)
	}
}

// terminalSize is the size of the terminal that a process has as its standard
// input, width by height.
func terminalSize(t *testing.T, pid uint32) string {
	t.Helper()
	f, err := os.OpenFile(procFile(pid, "fd/0"), os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		t.Fatalf("the standard input of process %d is no terminal: %v", pid, err)
	}
	return fmt.Sprintf("%dx%d", size.Col, size.Row)
}

// TestClientTerminalOutput writes a lot to the terminals of further processes
// and ends at once: not a byte of it may be lost.
func TestClientTerminalOutput(t *testing.T) {
	leavesNothing(t)
	rounds := 20
	if emulated {
		rounds = 3
	}
	var text, want bytes.Buffer
	for i := range 100_000 {
		fmt.Fprintf(&text, "%d\n", i)
		fmt.Fprintf(&want, "%d\r\n", i)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "numbers"), text.String())
	b := sleeper(t, bind(dir, "/data"))
	for i := range rounds {
		stdout := &output{}
		creator := cio.NewCreator(cio.WithStreams(nil, stdout, nil), cio.WithTerminal)
		p := b.spawn(t, "numbers", creator, "/files.wasm", "read", "/data/numbers").start(t)
		p.waitCode(t, 0)
		p.IO().Wait()
		p.delete(t)
		if got := stdout.String(); got != want.String() {
			tail := got[max(0, len(got)-20):]
			t.Fatalf("round %d: %d bytes, not %d, the last of them %q; NUL bytes: %v", i, len(got), want.Len(), tail, strings.Contains(got, "\x00"))
		}
	}
}
