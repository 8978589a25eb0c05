package e2e

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	mib         = 1 << 20
	memoryLimit = 64 * mib
)

// TestMemoryLimit has a guest ask for eight times what it may have. It gets a
// failed allocation, and nobody else gets anything.
func TestMemoryLimit(t *testing.T) {
	leavesNothing(t)
	bystander := plan{guest: "sleep", args: []string{"600000"}}.start(t)
	bystander.stdout.waitFor(t, "sleeping")

	r := ctrRun(t, "alloc", []string{"--memory-limit", "67108864"}, "512")
	r.wantCode(t, 1)
	if !strings.Contains(r.stdout, "allocation failed at") || strings.Contains(r.stdout, "64 MiB") {
		t.Fatalf("the guest shall see its allocation fail below 64 MiB: %s", r)
	}
	// What fits, fits.
	r = ctrRun(t, "alloc", []string{"--memory-limit", "67108864"}, "32")
	r.wantCode(t, 0)

	if status := bystander.status(t); status != containerd.Running {
		t.Fatalf("the other container is %s", status)
	}
}

// TestNoMemory has a module whose compilation needs more than the container may
// have.
func TestNoMemory(t *testing.T) {
	leavesNothing(t)
	r := ctrRun(t, "hello-go", []string{"--memory-limit", "5242880"})
	if r.code == 0 || r.stdout != "" {
		t.Errorf("it was not refused: %s", r)
	}
	r.wantStderr(t, "out of memory", "limit of 5242880 bytes", "linux.resources.memory.limit")
}

// TestOutOfMemory makes the kernel's OOM killer act: what a guest writes to a
// tmpfs is charged to it, and nothing in the runtime can foresee that.
func TestOutOfMemory(t *testing.T) {
	leavesNothing(t)
	bystander := plan{guest: "sleep", args: []string{"600000"}}.start(t)
	bystander.stdout.waitFor(t, "sleeping")

	id := newID(t)
	events := watch(t, id)
	b, err := plan{guest: "fill", args: []string{"/scratch/file"}, spec: []oci.SpecOpts{
		oci.WithMemoryLimit(memoryLimit),
		oci.WithMemorySwap(memoryLimit),
		oci.WithMounts([]specs.Mount{{Type: "tmpfs", Source: "tmpfs", Destination: "/scratch", Options: []string{"size=1g"}}}),
	}}.createWith(t, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 137)
	events.waitFor(t, "/tasks/exit")
	want := []string{"/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit"}
	if got := events.ofTask(); !slices.Equal(got, want) {
		t.Errorf("events %q, not %q", got, want)
	}
	// CRI asks for them after the exit, to tell why.
	if u := b.usage(t); u.memoryLimit != memoryLimit {
		t.Errorf("metrics after the exit tell a limit of %d", u.memoryLimit)
	}
	if status := bystander.status(t); status != containerd.Running {
		t.Errorf("the other container is %s", status)
	}
}

// TestCPUQuota lets a busy loop have a fifth of a processor.
func TestCPUQuota(t *testing.T) {
	leavesNothing(t)
	b := plan{guest: "spin", spec: []oci.SpecOpts{oci.WithCPUCFS(20_000, 100_000)}}.start(t)
	b.stdout.waitFor(t, "spinning")
	time.Sleep(time.Second) // past what was saved up at the start
	begin := b.usage(t)
	time.Sleep(6 * time.Second)
	end := b.usage(t)
	percent := 100 * float64(end.cpu-begin.cpu) / float64(end.at.Sub(begin.at))
	t.Logf("%.1f %% of a processor", percent)
	if math.Abs(percent-20) > 3 {
		t.Fatalf("a busy loop with a quota of 20 %% used %.1f %%", percent)
	}
}

func TestPidsLimit(t *testing.T) {
	leavesNothing(t)
	b := plan{guest: "spin", spec: []oci.SpecOpts{oci.WithPidsLimit(32)}}.start(t)
	b.stdout.waitFor(t, "spinning")
	u := b.usage(t)
	if u.pidsLimit != 32 || u.pids == 0 || u.pids > 32 {
		t.Fatalf("%d threads with a limit of %d; the limit shall be 32", u.pids, u.pidsLimit)
	}
}

// TestFreeze stops a busy loop and lets it go on.
func TestFreeze(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := plan{guest: "spin"}.start(t)
	b.stdout.waitFor(t, "spinning")
	if err := b.task.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	if status := b.status(t); status != containerd.Paused {
		t.Fatalf("status %s after pause", status)
	}
	begin := b.usage(t).cpu
	time.Sleep(time.Second)
	if used := b.usage(t).cpu - begin; used > 10*time.Millisecond {
		t.Fatalf("the frozen guest used %v of the processor", used)
	}
	if err := b.task.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if status := b.status(t); status != containerd.Running {
		t.Fatalf("status %s after resume", status)
	}
	eventually(t, "the guest computes again", func() bool { return b.usage(t).cpu-begin > 100*time.Millisecond })
}

// TestKillFrozen ends a guest that cannot run.
func TestKillFrozen(t *testing.T) {
	leavesNothing(t)
	b := plan{guest: "spin"}.start(t)
	b.stdout.waitFor(t, "spinning")
	if err := b.task.Pause(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.kill(t, 9)
	b.waitCode(t, 137)
}

// TestUpdate changes limits of a running guest.
func TestUpdate(t *testing.T) {
	leavesNothing(t)
	b := plan{guest: "sleep", args: []string{"600000"}, spec: []oci.SpecOpts{oci.WithMemoryLimit(memoryLimit)}}.start(t)
	b.stdout.waitFor(t, "sleeping")
	limit, pids := int64(2*memoryLimit), int64(50)
	if err := b.task.Update(namespaced(t.Context()), containerd.WithResources(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &limit},
		Pids:   &specs.LinuxPids{Limit: &pids},
	})); err != nil {
		t.Fatal(err)
	}
	if u := b.usage(t); u.memoryLimit != 2*memoryLimit || u.pidsLimit != 50 {
		t.Fatalf("limits are %d bytes and %d threads after the update", u.memoryLimit, u.pidsLimit)
	}
}
