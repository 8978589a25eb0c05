package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
)

func TestNullIO(t *testing.T) {
	leavesNothing(t)
	r := ctrRun(t, "hello-c", []string{"--null-io"})
	r.wantCode(t, 0)
	r.wantStdout(t, "")
}

// TestLogFile has the output of two runs one behind the other.
func TestLogFile(t *testing.T) {
	leavesNothing(t)
	file := filepath.Join(t.TempDir(), "new folder", "log")
	for range 2 {
		ctrRun(t, "hello-c", []string{"--log-uri", "file://" + strings.ReplaceAll(file, " ", "%20")}).wantCode(t, 0)
	}
	if got := read(t, file); got != "hello from c\nhello from c\n" {
		t.Errorf("the file has %q", got)
	}
}

// TestLogProgram gives the output to a program, which has written all of it
// when the container is deleted.
func TestLogProgram(t *testing.T) {
	for _, scheme := range []string{"binary", "binary-v2"} {
		t.Run(scheme, func(t *testing.T) {
			leavesNothing(t)
			program, err := engine.Program("native")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "log")
			uri := scheme + "://" + program + "?log=" + file

			b, err := plan{guest: "files", args: []string{"read", "/nothing/here"}, io: logTo(uri, false)}.createWith(t, newID(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.task.Start(namespaced(t.Context())); err != nil {
				t.Fatal(err)
			}
			b.waitCode(t, 1)
			id := b.ID()
			if err := b.remove(); err != nil {
				t.Fatal(err)
			}
			if got, want := read(t, file), id+" stderr: files: open /nothing/here: No such file or directory\n"; got != want {
				t.Errorf("logged %q, not %q", got, want)
			}
		})
	}
}

// TestLogProgramOfExec is the same for a further process, on a terminal and not.
func TestLogProgramOfExec(t *testing.T) {
	leavesNothing(t)
	program, err := engine.Program("native")
	if err != nil {
		t.Fatal(err)
	}
	ctx := namespaced(t.Context())
	b := withTools(t)
	for _, terminal := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "log")
		id := newID(t)
		p := b.spawn(t, id, logTo("binary://"+program+"?log="+file, terminal), "/tools/hello-c.wasm").start(t)
		p.waitCode(t, 0)
		if _, err := p.Delete(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := read(t, file), id+" stdout: hello from c\n"; got != want {
			t.Errorf("terminal %v: logged %q, not %q", terminal, got, want)
		}
	}
}

// logTo makes the IO of a task that a URI names.
func logTo(uri string, terminal bool) cio.Creator {
	return func(string) (cio.IO, error) { return &logIO{uri: uri, terminal: terminal}, nil }
}

type logIO struct {
	uri      string
	terminal bool
}

func (l *logIO) Config() cio.Config {
	c := cio.Config{Terminal: l.terminal, Stdout: l.uri}
	if !l.terminal {
		c.Stderr = l.uri
	}
	return c
}
func (*logIO) Cancel()      {}
func (*logIO) Wait()        {}
func (*logIO) Close() error { return nil }

// TestLogProgramErrors names the program that cannot log.
func TestLogProgramErrors(t *testing.T) {
	leavesNothing(t)
	native, err := engine.Program("native")
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"binary:///no/such/logger":         "/no/such/logger: no such file or directory",
		"binary-v2://" + native + "?spell": "has ended, or closed descriptor 5 without the byte that says it is ready",
		"http://example.test/log":          `the scheme "http"`,
	} {
		r := ctrRun(t, "hello-c", []string{"--log-uri", uri})
		if r.code == 0 {
			t.Errorf("it ran with %s: %s", uri, r)
		}
		r.wantStderr(t, want)
	}
}

// TestStalledReaders has guests of one shim write more than is read, each of a
// different kind of stream, while another one of the same shim goes on.
func TestStalledReaders(t *testing.T) {
	leavesNothing(t)
	b := withTools(t)
	ctx := namespaced(t.Context())
	for _, terminal := range []bool{false, true} {
		stalled := &gate{opened: make(chan struct{})}
		options := []cio.Opt{cio.WithStreams(strings.NewReader(strings.Repeat("a line of text\n", 1<<15)), stalled, nil)}
		if terminal {
			options = append(options, cio.WithTerminal)
		}
		p := b.spawn(t, newID(t), cio.NewCreator(options...), "/tools/cat.wasm").start(t)
		r := b.ctrExec(t, "", nil, "/tools/hello-c.wasm")
		r.wantCode(t, 0)
		r.wantStdout(t, "hello from c\n")
		if status, err := p.Status(ctx); err != nil || status.Status != containerd.Running {
			t.Errorf("the stalled process is %v, %v", status, err)
		}
		// Its reader goes on, and so can it be deleted.
		close(stalled.opened)
		if _, err := p.Delete(ctx, containerd.WithProcessKill); err != nil {
			t.Error(err)
		}
	}
}

// TestShortRuns looks for lost output of guests that are over at once.
func TestShortRuns(t *testing.T) {
	leavesNothing(t)
	b := withTools(t)
	total := 200
	if emulated {
		total = 20
	}
	var mu sync.Mutex
	var outputs []string
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range total / 4 {
				r := b.ctrExec(t, "", nil, "/tools/hello-as.wasm")
				mu.Lock()
				outputs = append(outputs, r.stdout)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(outputs)
	if got := slices.Compact(outputs); len(got) != 1 || got[0] == "" {
		t.Errorf("outputs %q", got)
	}
}
