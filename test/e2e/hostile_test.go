package e2e

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/docs"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/hostile"
)

var writeDocs = flag.Bool("docs", false, "write the tables in docs that the tests make")

const (
	hostileMemory = 256 * mib
	// What the shim may have at any time, however much its containers want.
	shimMemory = 64 * mib
	// How long a module that takes too long to compile may do so.
	patience = 2 * time.Second
	// A machine under load answers late, and one that hangs never does.
	answerTime = 10 * time.Second
)

// TestHostileModules runs modules made to do harm, two at a time, in a pod with
// a container that wants to be left alone. Each has the end that the manual
// tells, and the others notice nothing.
func TestHostileModules(t *testing.T) {
	leavesNothing(t)
	folder := t.TempDir()
	bystander := newBystander(t)
	shim := parent(t, int(bystander.task.Pid()))
	t.Run("recipes", func(t *testing.T) {
		places := make(chan struct{}, 2)
		for _, recipe := range hostile.All() {
			t.Run(recipe.Name, func(t *testing.T) {
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
				tryHostile(t, folder, recipe)
				bystander.echoes(t, recipe.Name)
			})
		}
	})
	bystander.stop()
	t.Logf("the slowest answer about the other container took %v", bystander.slowest)
	if bystander.slowest > scaled(answerTime) {
		t.Errorf("an answer about the other container took %v", bystander.slowest)
	}
	peak := peakMemory(t, shim)
	t.Logf("the shim had %.1f MiB at most", float64(peak)/mib)
	if peak >= shimMemory {
		t.Errorf("the shim had %d bytes, which shall be fewer than %d", peak, shimMemory)
	}
}

// inHostilePod is the annotation that puts containers into one shim.
func inHostilePod() oci.SpecOpts {
	return oci.WithAnnotations(map[string]string{"io.kubernetes.cri.sandbox-id": "hostile"})
}

// tryHostile runs a recipe, whose container ends as it should.
func tryHostile(t *testing.T, folder string, recipe hostile.Recipe) {
	file := recipe.Name + ".wasm"
	path := filepath.Join(folder, file)
	if err := recipe.Write(path); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	stuck := make(stuckWriter)
	defer close(stuck)
	p := plan{guest: "hello-c", spec: []oci.SpecOpts{
		oci.WithProcessArgs(append([]string{"/hostile/" + file}, recipe.Args...)...),
		oci.WithMounts([]specs.Mount{{Type: "bind", Source: folder, Destination: "/hostile", Options: []string{"rbind", "ro"}}}),
		oci.WithMemoryLimit(hostileMemory), oci.WithMemorySwap(hostileMemory),
		oci.WithCPUCFS(100_000, 100_000),
		oci.WithPidsLimit(100),
		inHostilePod(),
	}}
	stderr := &output{}
	if recipe.Killed {
		p.io = cio.NewCreator(cio.WithStreams(nil, stuck, stderr))
	} else {
		p.io = cio.NewCreator(cio.WithStreams(nil, io.Discard, stderr))
	}
	want := recipe.Refused
	if recipe.Slow {
		p.options = map[string]any{"CompileTimeout": patience.String()}
		want = fmt.Sprintf("compiling took more than %s", patience)
	}
	id := newID(t)
	var events *watcher
	if recipe.OOM {
		events = watch(t, id)
	}
	b, err := p.createWith(t, id)
	if want != "" {
		if err == nil {
			t.Fatal("it was not refused")
		}
		isPlain(t, err.Error())
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in the error: %v", want, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	code := recipe.Exit
	switch {
	case recipe.OOM:
		code = 137
	case recipe.Killed:
		time.Sleep(100 * time.Millisecond) // it is at it
		b.kill(t, syscall.SIGKILL)
		code = 137
	}
	b.stderr = stderr
	b.waitCode(t, uint32(code))
	if recipe.Stderr != "" {
		stderr.waitFor(t, recipe.Stderr)
	}
	isPlain(t, stderr.String())
	if recipe.OOM {
		events.waitFor(t, "/tasks/oom")
	}
}

// isPlain fails the test where a message is no text, or a flood.
func isPlain(t *testing.T, message string) {
	t.Helper()
	if len(message) > 16<<10 {
		t.Errorf("a message of %d bytes: %.100q…", len(message), message)
	}
	for _, r := range message {
		if r != '\n' && !strconv.IsPrint(r) {
			t.Errorf("a message with %q: %.1000q", r, message)
		}
	}
}

// stuckWriter is a reader of output who does not read until it is closed.
type stuckWriter chan struct{}

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w
	return len(p), nil
}

// bystander is a container that sends back what it is sent, and whose state is
// asked for all the time.
type bystander struct {
	*box
	mu      sync.Mutex
	stdin   *io.PipeWriter
	slowest time.Duration
	stop    func()
}

func newBystander(t *testing.T) *bystander {
	stdin, feed := io.Pipe()
	b := &bystander{stdin: feed}
	b.box = plan{guest: "cat", stdin: stdin, spec: []oci.SpecOpts{inHostilePod()}}.start(t)
	done, stopped := make(chan struct{}), make(chan struct{})
	b.stop = sync.OnceFunc(func() {
		close(done)
		<-stopped
	})
	t.Cleanup(b.stop)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
			begin := time.Now()
			status, err := b.task.Status(namespaced(context.Background()))
			if err != nil || status.Status != "running" {
				t.Errorf("the other container is %q: %v", status.Status, err)
				return
			}
			b.slowest = max(b.slowest, time.Since(begin))
		}
	}()
	return b
}

// echoes says something to the container and waits for it to come back.
func (b *bystander) echoes(t *testing.T, text string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := fmt.Fprintln(b.stdin, text); err != nil {
		t.Fatal(err)
	}
	b.stdout.waitFor(t, text+"\n")
}

// peakMemory is the most that a process ever had in memory, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kib int
			if _, err := fmt.Sscan(value, &kib); err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("process %d has no peak", pid)
	return 0
}

// TestHostileManual compares the manual's table with the recipes.
func TestHostileManual(t *testing.T) {
	const begin, end = "<!-- hostile:begin -->\n", "<!-- hostile:end -->\n"
	var table strings.Builder
	table.WriteString("| module | what it is | how its container ends |\n|---|---|---|\n")
	for _, r := range hostile.All() {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", r.Name, r.What, r.Outcome)
	}
	head, rest, found := strings.Cut(docs.HostileModules, begin)
	old, tail, ended := strings.Cut(rest, end)
	switch {
	case !found || !ended:
		t.Fatal("docs/hostile-modules.md has no place for the table")
	case old == table.String():
	case *writeDocs:
		text := head + begin + table.String() + end + tail
		if err := os.WriteFile("docs/hostile-modules.md", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatalf("docs/hostile-modules.md has another table than this one, which `make test-e2e E2E_ARGS=\"-test.run TestHostileManual -docs\"` writes:\n%s", table.String())
	}
}
