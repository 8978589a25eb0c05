package e2e

import (
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
)

// TestPod has the containers of a pod in one shim, which lives as long as one
// of them.
func TestPod(t *testing.T) {
	leavesNothing(t)
	inPod := func(pod string) *box {
		b := plan{guest: "sleep", args: []string{"600000"}, spec: []oci.SpecOpts{
			oci.WithAnnotations(map[string]string{"io.kubernetes.cri.sandbox-id": pod}),
		}}.start(t)
		b.stdout.waitFor(t, "sleeping")
		return b
	}
	first, second, other := inPod("one"), inPod("one"), inPod("two")
	if n := running(t, shimProgram); n != 2 {
		t.Fatalf("%d shims for two pods", n)
	}
	if n := running(t, sandboxProgram); n != 3 {
		t.Fatalf("%d sandbox processes for three containers", n)
	}
	first.kill(t, syscall.SIGTERM)
	first.waitCode(t, 143)
	if err := first.remove(); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*box{second, other} {
		if status := b.status(t); status != containerd.Running {
			t.Errorf("%s is %s after another container ended", b.ID(), status)
		}
	}
	if n := running(t, shimProgram); n != 2 {
		t.Errorf("%d shims for two pods, after one container of three", n)
	}
	if err := second.remove(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first pod's shim ends", func() bool { return running(t, shimProgram) == 1 })
}

// TestShimDies has the kernel kill a container whose shim is gone, and
// containerd clean up.
func TestShimDies(t *testing.T) {
	leavesNothing(t)
	id := newID(t)
	events := watch(t, id)
	b, err := plan{guest: "spin"}.createWith(t, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.stdout.waitFor(t, "spinning")
	shim := parent(t, int(b.task.Pid()))
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sandbox process ends", func() bool { return running(t, sandboxProgram) == 0 })
	events.waitFor(t, "/tasks/exit")
	eventually(t, "the task is gone", func() bool {
		_, err := b.Task(namespaced(t.Context()), nil)
		return errdefs.IsNotFound(err)
	})
}
