package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
)

// TestSignals ends a busy loop, which cannot look for signals itself, within
// 200 ms. On a busy machine the best of three tries counts.
func TestSignals(t *testing.T) {
	for name, code := range map[string]uint32{"SIGTERM": 143, "SIGINT": 130, "SIGQUIT": 131, "SIGHUP": 129, "SIGKILL": 137} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			best := time.Hour
			for range 3 {
				b := plan{guest: "spin"}.start(t)
				b.stdout.waitFor(t, "spinning")
				begin := time.Now()
				mustCtr(t, "task", "kill", "-s", name, b.ID())
				best = min(best, b.waitCode(t, code).ExitTime().Sub(begin))
				if best <= 200*time.Millisecond || emulated {
					t.Logf("%v from the call of ctr to the exit", best)
					return
				}
			}
			t.Errorf("%s took %v to end the guest", name, best)
		})
	}
}

// TestEvents looks at their order for a guest that ends at once.
func TestEvents(t *testing.T) {
	leavesNothing(t)
	id := newID(t)
	events := watch(t, id)
	mustCtr(t, "run", "--rm", "--runtime", wasmRuntime, imageName("hello-c"), id)
	events.waitFor(t, "/tasks/delete")
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"}
	if got := events.ofTask(); !slices.Equal(got, want) {
		t.Fatalf("events %q, not %q", got, want)
	}
}

// TestCreatedTask is about the time between create and start, when networks
// are attached to the process.
func TestCreatedTask(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := plan{guest: "hello-c"}.create(t)
	if status := b.status(t); status != containerd.Created {
		t.Fatalf("status %s before start", status)
	}
	pid := int(b.task.Pid())
	if err := syscall.Kill(pid, 0); err != nil || pid == 0 {
		t.Fatalf("pid %d is not a process: %v", pid, err)
	}
	pids, err := b.task.Pids(ctx)
	if err != nil || len(pids) != 1 || int(pids[0].Pid) != pid {
		t.Fatalf("pids %v, %v; want %d", pids, err, pid)
	}
	if err := b.task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 0)
	b.task.IO().Wait()
	if got := b.stdout.String(); got != "hello from c\n" {
		t.Fatalf("stdout %q", got)
	}
}

// TestDeleteCreated deletes a task that never ran.
func TestDeleteCreated(t *testing.T) {
	leavesNothing(t)
	b := plan{guest: "hello-c"}.create(t)
	// The client's own Delete would kill it first.
	r, err := client.TaskService().Delete(namespaced(t.Context()), &tasks.DeleteTaskRequest{ContainerID: b.ID()})
	if err != nil || r.Pid != b.task.Pid() {
		t.Fatalf("delete: %v, %v; the pid is %d", r, err, b.task.Pid())
	}
	if got := b.stdout.String(); got != "" {
		t.Fatalf("it ran: %q", got)
	}
}

// TestWrongTime asks for what the task's state does not allow.
func TestWrongTime(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := plan{guest: "spin"}.start(t)
	b.stdout.waitFor(t, "spinning")
	if _, err := b.task.Delete(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("delete of a running task: %v", err)
	}
	if err := b.task.Start(ctx); err == nil {
		t.Error("a second start was accepted")
	}
	b.kill(t, syscall.SIGKILL)
	b.waitCode(t, 137)
	if err := b.task.Kill(ctx, syscall.SIGKILL); !errdefs.IsNotFound(err) {
		t.Errorf("kill of an ended task: %v", err)
	}
}

// TestLikeRunc compares what ctr shows of a task with what it shows for runc.
func TestLikeRunc(t *testing.T) {
	leavesNothing(t)
	shown := map[string][]string{}
	for runtime, guest := range map[string]string{wasmRuntime: "spin", runcRuntime: "native"} {
		p := plan{guest: guest, runtime: runtime}
		if guest == "native" {
			p.args = []string{"spin"}
		}
		b := p.start(t)
		b.stdout.waitFor(t, "spinning")
		show := func(args ...string) {
			shown[runtime] = append(shown[runtime], shape(mustCtr(t, args...), b.ID()))
		}
		show("task", "ls")
		show("task", "metrics", b.ID())
		var groups map[string]any
		if err := json.Unmarshal([]byte(mustCtr(t, "task", "metrics", "--format", "json", b.ID())), &groups); err != nil {
			t.Fatal(err)
		}
		shown[runtime] = append(shown[runtime], fmt.Sprint(slices.Sorted(maps.Keys(groups))))
		show("task", "pause", b.ID())
		show("task", "ls")
		show("task", "metrics", b.ID())
		show("task", "resume", b.ID())
		show("task", "ls")
		show("task", "ps", b.ID())
		show("task", "kill", "-s", "SIGKILL", b.ID())
		b.waitCode(t, 137)
		show("task", "ls")
		if err := b.remove(); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range shown[runcRuntime] {
		if got := shown[wasmRuntime][i]; got != want {
			t.Errorf("ctr shows for runc\n%s\nand for Wasm\n%s", want, got)
		}
	}
}

var number = regexp.MustCompile(`\d+`)

// shape is an output without what differs between any two containers: their
// ids, all numbers, and how wide a column is.
func shape(output, id string) string {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(output, id, "ID")) {
		line = number.ReplaceAllString(line, "N")
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

// TestMany runs containers one after another, eight at a time.
func TestMany(t *testing.T) {
	leavesNothing(t)
	total := 200
	if emulated {
		total = 16
	}
	jobs := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range jobs {
				r := ctrRun(t, "hello-c", nil)
				if r.code != 0 || r.stdout != "hello from c\n" {
					t.Errorf("one failed: %s", r)
				}
			}
		})
	}
	for i := range total {
		if i%50 == 49 {
			t.Logf("%d of %d", i+1, total)
		}
		jobs <- i
	}
	close(jobs)
	workers.Wait()
}
