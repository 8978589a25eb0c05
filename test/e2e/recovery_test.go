package e2e

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// TestDaemonKilled kills containerd while containers are in every state, and
// starts it again.
func TestDaemonKilled(t *testing.T) {
	leavesNothing(t)
	s := newSpare(t, 0, "count", "spin")
	ctx := namespaced(t.Context())
	counting := plan{on: s.client, guest: "count", args: []string{"-1", "200", "0"}}.start(t)
	unstarted := plan{on: s.client, guest: "count", args: []string{"10", "0", "5"}}.create(t)
	paused := plan{on: s.client, guest: "spin"}.start(t)
	if err := paused.task.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	ended := plan{on: s.client, guest: "count", args: []string{"10", "0", "3"}}.start(t)
	ended.waitCode(t, 3)
	ending := plan{on: s.client, guest: "count", args: []string{"200", "2000", "7"}}.start(t)
	counting.stdout.waitFor(t, "\n100\n")

	s.die(t)
	eventually(t, "a guest ends meanwhile", func() bool { return syscall.Kill(int(ending.task.Pid()), 0) == syscall.ESRCH })
	before := len(counting.stdout.String())
	eventually(t, "another writes meanwhile", func() bool { return len(counting.stdout.String()) > before+1000 })
	s.rise(t)

	for b, want := range map[*box]containerd.Status{
		counting:  {Status: containerd.Running},
		unstarted: {Status: containerd.Created},
		paused:    {Status: containerd.Paused},
		ended:     {Status: containerd.Stopped, ExitStatus: 3},
		ending:    {Status: containerd.Stopped, ExitStatus: 7},
	} {
		task, err := b.Task(ctx, nil)
		if err != nil {
			t.Fatalf("task of %s: %v", b.ID(), err)
		}
		got, err := task.Status(ctx)
		if err != nil || got.Status != want.Status || got.ExitStatus != want.ExitStatus || task.Pid() != b.task.Pid() {
			t.Errorf("%s is %+v with pid %d after the restart, %v; want %+v, pid %d", b.ID(), got, task.Pid(), err, want, b.task.Pid())
		}
		// What the client waited for went with containerd.
		if b.exit, err = b.task.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	ending.waitCode(t, 7)
	wantLines(t, ending, 200)
	ended.waitCode(t, 3)
	if err := unstarted.task.Start(ctx); err != nil {
		t.Error(err)
	}
	unstarted.waitCode(t, 5)
	wantLines(t, unstarted, 10)
	if err := paused.task.Resume(ctx); err != nil {
		t.Error(err)
	}
	before = len(counting.stdout.String())
	eventually(t, "a guest goes on to write", func() bool { return len(counting.stdout.String()) > before+1000 })
	counting.kill(t, syscall.SIGTERM)
	counting.waitCode(t, 143)
	wantLines(t, counting, -1)
	for _, b := range []*box{counting, unstarted, paused, ended, ending} {
		if err := b.remove(); err != nil {
			t.Error(err)
		}
	}
	s.leftNothing(t, nil)
}

// wantLines wants a counting guest's output to be complete: so many lines, or
// any number if that is -1, and not one missing or broken.
func wantLines(t *testing.T, b *box, total int) {
	t.Helper()
	b.task.IO().Wait()
	n := 0
	for line := range strings.Lines(b.stdout.String()) {
		if line != strconv.Itoa(n)+"\n" {
			t.Fatalf("%s: line %d is %q", b.ID(), n, line)
		}
		n++
	}
	if n == 0 || total >= 0 && n != total {
		t.Fatalf("%s wrote %d lines, not %d", b.ID(), n, total)
	}
}

// TestReaderDiesToo has the reader of the output in containerd, as CRI has it:
// nobody reads while both are gone, and who comes after reads on.
func TestReaderDiesToo(t *testing.T) {
	leavesNothing(t)
	s := newSpare(t, 0, "count")
	fifo := filepath.Join(t.TempDir(), "stdout")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := openReader(t, fifo)
	// More than a FIFO holds, so that the guest has to wait for a reader.
	const lines = 30000
	b := plan{on: s.client, guest: "count", args: []string{strconv.Itoa(lines), "0", "7"}, io: outputTo(fifo)}.start(t)
	reader := opened()
	in := bufio.NewReader(reader)
	n := 0
	next := func() {
		t.Helper()
		line, err := in.ReadString('\n')
		if err != nil || line != strconv.Itoa(n)+"\n" {
			t.Fatalf("line %d is %q, %v", n, line, err)
		}
		n++
	}
	for range 1000 {
		next()
	}
	for in.Buffered() > 0 { // what the reader has taken out of the FIFO is its own
		next()
	}
	s.die(t)
	reader.Close()
	time.Sleep(100 * time.Millisecond) // the guest fills the FIFO
	s.rise(t)
	reader = openReader(t, fifo)()
	defer reader.Close()
	in.Reset(reader)
	for n < lines {
		next()
	}
	if rest, err := in.ReadString('\n'); rest != "" || err == nil {
		t.Fatalf("after the last line: %q, %v", rest, err)
	}
	var err error
	if b.exit, err = b.task.Wait(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 7)
	if err := b.remove(); err != nil {
		t.Error(err)
	}
	s.leftNothing(t, nil)
}

// openReader opens a FIFO for reading, which waits for a writer; the function
// it returns waits for that.
func openReader(t *testing.T, fifo string) func() *os.File {
	opened := make(chan *os.File, 1)
	failed := make(chan error, 1)
	go func() {
		f, err := os.Open(fifo)
		if err != nil {
			failed <- err
		}
		opened <- f
	}()
	return func() *os.File {
		t.Helper()
		select {
		case f := <-opened:
			return f
		case err := <-failed:
			t.Fatal(err)
		case <-time.After(scaled(20 * time.Second)):
			t.Fatalf("nobody opens %s for writing", fifo)
		}
		panic("unreachable")
	}
}

// outputTo creates the IO of a task whose stdout is a FIFO of the test's own.
func outputTo(stdout string) cio.Creator {
	return func(string) (cio.IO, error) {
		return cio.Load(cio.NewFIFOSet(cio.Config{Stdout: stdout}, func() error { return nil }))
	}
}

// TestShimKilled kills a shim whose container is in each state. The exit status
// that containerd tells is the one that was recorded, if there was one.
func TestShimKilled(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string // of the guest count
		then func(t *testing.T, b *box)
		code uint32
	}{
		{"created", []string{"1", "0", "7"}, func(*testing.T, *box) {}, 137},
		{"running", []string{"-1", "1000", "7"}, func(t *testing.T, b *box) {
			b.begin(t)
			b.stdout.waitFor(t, "\n10\n")
		}, 137},
		{"paused", []string{"-1", "1000", "7"}, func(t *testing.T, b *box) {
			b.begin(t)
			if err := b.task.Pause(namespaced(t.Context())); err != nil {
				t.Fatal(err)
			}
		}, 137},
		{"running an exec", []string{"-1", "1000", "7"}, func(t *testing.T, b *box) {
			b.begin(t)
			b.spawn(t, "other", cio.NullIO, "/count.wasm", "-1", "1000", "0").start(t)
		}, 137},
		{"ended", []string{"1", "0", "7"}, func(t *testing.T, b *box) {
			b.begin(t)
			b.waitCode(t, 7)
		}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			exits := watchExits(t, client)
			b := plan{guest: "count", args: c.args}.create(t)
			c.then(t, b)
			shim := onlyShim(t)
			if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			wantGone(t, b, exits, c.code)
			eventually(t, "nothing is left", func() bool {
				left, err := surplus()
				return err == nil && !slices.ContainsFunc(left, isOurs)
			})
		})
	}
}

// isOurs says of a leftover that it is not the test's own FIFOs, which are there
// until the test removes the container.
func isOurs(line string) bool { return !strings.HasPrefix(line, "file /run/containerd/fifo") }

// begin starts a created box.
func (b *box) begin(t *testing.T) {
	t.Helper()
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// onlyShim is the pid of the one shim there is.
func onlyShim(t *testing.T) int {
	t.Helper()
	shims := ours(daemonRun)
	if len(shims) != 1 {
		t.Fatalf("shims %d, not one", shims)
	}
	return shims[0]
}

// TestShimOfPodKilled kills the shim of three containers in different states.
func TestShimOfPodKilled(t *testing.T) {
	leavesNothing(t)
	exits := watchExits(t, client)
	inPod := func(args ...string) *box {
		return plan{guest: "count", args: args, spec: []oci.SpecOpts{inPod("doomed")}}.create(t)
	}
	unstarted, running, ended := inPod("1", "0", "7"), inPod("-1", "1000", "7"), inPod("1", "0", "7")
	running.begin(t)
	ended.begin(t)
	ended.waitCode(t, 7)
	if err := syscall.Kill(onlyShim(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for b, code := range map[*box]uint32{unstarted: 137, running: 137, ended: 7} {
		wantGone(t, b, exits, code)
	}
}

func inPod(pod string) oci.SpecOpts {
	return oci.WithAnnotations(map[string]string{"io.kubernetes.cri.sandbox-id": pod})
}

// TestSandboxKilledInCreate kills the sandbox process, or that which compiles for
// it, at many moments between its fork and the end of a long compilation.
func TestSandboxKilledInCreate(t *testing.T) {
	leavesNothing(t)
	// Without the cache each creation compiles.
	compiling := func() plan {
		return plan{guest: "hello-go", options: map[string]any{"CacheDir": t.TempDir()}}
	}
	begin := time.Now()
	if err := compiling().create(t).remove(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	rounds := 8
	if emulated {
		rounds = 3
	}
	killed := 0
	for i := range rounds {
		delay := took * time.Duration(i) / time.Duration(rounds)
		done := make(chan struct{})
		var struck sync.WaitGroup
		struck.Go(func() {
			for forked := (time.Time{}); ; time.Sleep(time.Millisecond / 2) {
				pids := ours(guestRun)
				if len(pids) > 0 && forked.IsZero() {
					forked = time.Now()
				}
				if len(pids) > 0 && time.Since(forked) >= delay {
					syscall.Kill(pids[len(pids)-1], syscall.SIGKILL)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		b, err := compiling().createWith(t, newID(t))
		close(done)
		struck.Wait()
		if err != nil {
			killed++
			t.Logf("after %v: %v", delay, err)
			if text := err.Error(); !strings.Contains(text, "the sandbox process ended before the module was loaded: killed by signal 9 (killed)") &&
				!strings.Contains(text, "the process that compiles the module ended before it was through") {
				t.Errorf("after %v: the error tells of no process that has ended: %v", delay, err)
			}
		}
		if b != nil {
			if err := b.remove(); err != nil {
				t.Error(err)
			}
		}
		eventually(t, "nothing is left", func() bool { left, err := surplus(); return err == nil && len(left) == 0 })
	}
	if killed < rounds/2 {
		t.Errorf("only %d of %d were killed before they were ready", killed, rounds)
	}
}
