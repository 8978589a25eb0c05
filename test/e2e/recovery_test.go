package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
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

// wantGone waits until containerd has cleaned up after a task whose shim died.
// All that it says of the exit shall be that status.
func wantGone(t *testing.T, b *box, exits *exitWatch, code uint32) {
	t.Helper()
	eventually(t, b.ID()+" is gone", func() bool {
		_, err := client.TaskService().Delete(namespaced(t.Context()), &tasks.DeleteTaskRequest{ContainerID: b.ID()})
		return errdefs.IsNotFound(errgrpc.ToNative(err))
	})
	eventually(t, "the exit of "+b.ID(), func() bool { return len(exits.of(b.ID())) > 0 })
	if got := slices.Compact(exits.of(b.ID())); !slices.Equal(got, []uint32{code}) {
		t.Errorf("TaskExit of %s with the statuses %d, not %d", b.ID(), got, code)
	}
}

func inPod(pod string) oci.SpecOpts {
	return oci.WithAnnotations(map[string]string{"io.kubernetes.cri.sandbox-id": pod})
}

// exitWatch collects what TaskExit events say of the first processes.
type exitWatch struct {
	mu       sync.Mutex
	statuses map[string][]uint32 // by container id
}

// watchExits listens from now until the test's end, or until containerd ends.
func watchExits(t *testing.T, c *containerd.Client) *exitWatch {
	t.Helper()
	w := &exitWatch{statuses: map[string][]uint32{}}
	w.listen(t, c)
	return w
}

func (w *exitWatch) listen(t *testing.T, c *containerd.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(namespaced(context.Background()))
	t.Cleanup(cancel)
	messages, errs := c.EventService().Subscribe(ctx, fmt.Sprintf(`namespace==%q,topic=="/tasks/exit"`, engine.Namespace))
	go func() {
		for {
			select {
			case m := <-messages:
				event, err := typeurl.UnmarshalAny(m.Event)
				e, ok := event.(*eventtypes.TaskExit)
				if err != nil || !ok {
					t.Errorf("event %s: %v, %v", m.Topic, event, err)
				} else if e.ID == e.ContainerID {
					w.note(e.ContainerID, e.ExitStatus)
				}
			case <-errs:
				return
			}
		}
	}()
	// The subscription takes effect at some time after the call; an event of
	// our own shows when.
	id := newID(t)
	eventually(t, "the subscription to events", func() bool {
		if err := c.EventService().Publish(ctx, "/tasks/exit", &eventtypes.TaskExit{ContainerID: id, ID: id}); err != nil {
			t.Fatalf("publish an event: %v", err)
		}
		return len(w.of(id)) > 0
	})
}

func (w *exitWatch) note(id string, status uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statuses[id] = append(w.statuses[id], status)
}

// of is what was told of a container so far, in order.
func (w *exitWatch) of(id string) []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.statuses[id])
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

// TestDiskFull has room for less and less of the bundle.
func TestDiskFull(t *testing.T) {
	leavesNothing(t)
	s := newSpare(t, 1<<20, "count")
	ctx := namespaced(t.Context())
	failed, fitted := 0, 0
	for pages := 0; fitted < 3; pages++ {
		if pages > 40 {
			t.Fatal("it never fits")
		}
		ballast := filepath.Join(s.State(), "ballast")
		fillUp(t, ballast, pages)
		p := plan{on: s.client, guest: "count", args: []string{"10", "0", "7"}}
		b, err := p.createWith(t, newID(t))
		if err == nil {
			// It goes all its way without any more room.
			fitted++
			fillUp(t, ballast, 0)
			b.begin(t)
			b.waitCode(t, 7)
			wantLines(t, b, 10)
			if fitted == 1 {
				// The exit was recorded, too.
				exits := watchExits(t, s.client)
				if err := syscall.Kill(onlyShim(t), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the exit", func() bool { return len(exits.of(b.ID())) > 0 })
				if got := slices.Compact(exits.of(b.ID())); !slices.Equal(got, []uint32{7}) {
					t.Errorf("TaskExit with the statuses %d, not 7", got)
				}
			} else if _, err := b.task.Delete(ctx); err != nil {
				t.Errorf("delete on a full disk: %v", err)
			} else {
				b.task = nil
			}
		} else {
			failed++
			t.Logf("%d pages free: %v", pages, err)
			if !strings.Contains(err.Error(), "no space left on device") {
				t.Errorf("the error does not say why: %v", err)
			}
		}
		if b != nil {
			if err := b.remove(); err != nil {
				t.Error(err)
			}
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		s.leftNothing(t, nil)
	}
	if failed < 3 {
		t.Errorf("only %d creations failed", failed)
	}
}

// fillUp leaves so many pages of a file system free.
func fillUp(t *testing.T, ballast string, pages int) {
	t.Helper()
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(ballast, &fs); err != nil {
		t.Fatal(err)
	}
	if n := int64(fs.Bfree)*fs.Bsize - int64(pages*os.Getpagesize()); n > 0 {
		// A tmpfs counts what is free for each processor, and so not exactly.
		if _, err := f.Write(make([]byte, n)); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// TestFullStdout has a guest whose output nobody reads. The others in its pod do
// not notice, and it can be killed and deleted.
func TestFullStdout(t *testing.T) {
	for _, reader := range []bool{true, false} {
		t.Run(fmt.Sprintf("reader=%v", reader), func(t *testing.T) {
			leavesNothing(t)
			fifo := filepath.Join(t.TempDir(), "stdout")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			if reader {
				f, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
			}
			pod := []oci.SpecOpts{inPod("stalled")}
			stalled := plan{guest: "count", args: []string{"-1", "0", "0"}, io: outputTo(fifo), spec: pod}.start(t)
			var cpu time.Duration
			eventually(t, "the guest waits for a reader", func() bool {
				last := cpu
				time.Sleep(100 * time.Millisecond)
				cpu = stalled.usage(t).cpu
				return cpu == last
			})
			other := plan{guest: "count", args: []string{"100000", "0", "7"}, spec: pod}.start(t)
			other.waitCode(t, 7)
			wantLines(t, other, 100000)
			if err := other.remove(); err != nil {
				t.Error(err)
			}
			if status := stalled.status(t); status != containerd.Running {
				t.Errorf("the stalled container is %s", status)
			}
			stalled.kill(t, syscall.SIGTERM)
			stalled.waitCode(t, 143)
			if _, err := stalled.task.Delete(namespaced(t.Context())); err != nil {
				t.Errorf("delete: %v", err)
			}
			stalled.task = nil
		})
	}
}
