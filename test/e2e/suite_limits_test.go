package e2e

import (
	"context"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// memory is resources with a memory limit in bytes.
func memory(limit int64) *specs.LinuxResources {
	return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
}

// TestClientUpdate changes the limits of a task that has not been started and of
// one that runs; an update that the kernel refuses changes nothing.
func TestClientUpdate(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	p := tool(t, "/sleep.wasm", "600000")
	p.spec = append(p.spec, oci.WithMemoryLimit(64*mib), oci.WithPidsLimit(100))
	b := p.create(t)
	want := func(when string, limit, pids uint64) {
		t.Helper()
		if u := b.usage(t); u.memoryLimit != limit || u.pidsLimit != pids {
			t.Errorf("%s the limits are %d bytes and %d tasks, not %d and %d", when, u.memoryLimit, u.pidsLimit, limit, pids)
		}
	}
	want("at first", 64*mib, 100)
	if err := b.task.Update(ctx, containerd.WithResources(memory(96*mib))); err != nil {
		t.Fatal(err)
	}
	want("before the start", 96*mib, 100)
	if err := b.task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	b.stdout.waitFor(t, "sleeping")
	if err := b.task.Update(ctx, containerd.WithResources(memory(128*mib))); err != nil {
		t.Fatal(err)
	}
	want("after an update", 128*mib, 100)

	refused := memory(160 * mib)
	period := uint64(1) // microsecond, of the thousand that the kernel wants
	refused.CPU = &specs.LinuxCPU{Period: &period}
	if err := b.task.Update(ctx, containerd.WithResources(refused)); err == nil {
		t.Error("an update that cannot be was accepted")
	}
	want("after an update that was refused", 128*mib, 100)
}

// TestClientMetrics measures a task before its start, while it runs, after its
// end, and not after its delete.
func TestClientMetrics(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	b := tool(t, "/sleep.wasm", "600000").create(t)
	measured := func(when string) {
		t.Helper()
		metric, err := b.task.Metrics(ctx)
		if err != nil {
			t.Fatalf("metrics %s: %v", when, err)
		}
		if metric.ID != b.ID() {
			t.Errorf("metrics %s are of %q", when, metric.ID)
		}
		if u := readUsage(t, metric); u.cpu == 0 {
			t.Errorf("metrics %s tell of no time on a processor", when)
		}
	}
	measured("before the start")
	if err := b.task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	b.stdout.waitFor(t, "sleeping")
	measured("of the running task")
	b.kill(t, syscall.SIGKILL)
	b.waitCode(t, 137)
	measured("after the end")
	if _, err := b.task.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := b.task.Metrics(ctx); !errdefs.IsNotFound(err) {
		t.Errorf("metrics after the delete: %v", err)
	}
	b.task = nil
}

// withOOMScore asks for an OOM score.
func withOOMScore(score int) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Process.OOMScoreAdj = &score
		return nil
	}
}
