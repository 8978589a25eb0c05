package e2e

import (
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/runtime/restart"
	"github.com/containerd/containerd/v2/pkg/cio"
)

// monitorInterval is how often containerd looks for tasks to be started again,
// by its default.
const monitorInterval = 10 * time.Second

// TestClientRestartMonitor has containerd start ended tasks again, as labels
// say: their deletes and creations follow one another at once.
func TestClientRestartMonitor(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	log := filepath.Join(t.TempDir(), "log")
	kept := func(p plan, policy string) *box {
		p.io = cio.NullIO
		p.labels = map[string]string{
			restart.StatusLabel: string(containerd.Running),
			restart.PolicyLabel: policy,
			restart.LogURILabel: (&url.URL{Scheme: "file", Path: log}).String(),
		}
		return p.start(t)
	}
	ended := func(b *box, code uint32) *box {
		if code == 137 {
			b.kill(t, syscall.SIGKILL)
		}
		b.waitCode(t, code)
		return b
	}

	frozen := kept(tool(t, "/sleep.wasm", "600000"), "always")
	if err := frozen.task.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	always := ended(kept(tool(t, "/sleep.wasm", "600000"), "always"), 137)
	failed := ended(kept(tool(t, "/exit.wasm", "7"), "on-failure:1"), 7)
	succeeded := ended(kept(tool(t, "/exit.wasm", "0"), "on-failure"), 0)
	stopped := kept(tool(t, "/sleep.wasm", "600000"), "unless-stopped")
	if err := stopped.Update(ctx, containerd.UpdateContainerOpts(containerd.WithAdditionalContainerLabels(map[string]string{
		restart.ExplicitlyStoppedLabel: "true",
	}))); err != nil {
		t.Fatal(err)
	}
	ended(stopped, 137)

	deadline := time.Now().Add(2*monitorInterval + scaled(10*time.Second))
	started := func(b *box) bool {
		task, err := b.Task(ctx, nil)
		return err == nil && task.Pid() != b.task.Pid()
	}
	for !started(always) || !started(failed) {
		if time.Now().After(deadline) {
			t.Fatalf("started again are the killed task: %v, the failed one: %v", started(always), started(failed))
		}
		time.Sleep(100 * time.Millisecond)
	}
	for what, b := range map[string]*box{"paused": frozen, "successful": succeeded, "stopped": stopped} {
		if started(b) {
			t.Errorf("the %s task was started again", what)
		}
	}
	// The second failure of the one is past its policy's limit.
	eventually(t, "the failed task fails again", func() bool {
		task, err := failed.Task(ctx, nil)
		if err != nil {
			return false
		}
		status, err := task.Status(ctx)
		return err == nil && status.Status == containerd.Stopped && status.ExitStatus == 7
	})
	eventually(t, "the killed task runs and logs", func() bool { return strings.Contains(read(t, log), "sleeping\n") })
	if err := frozen.task.Resume(ctx); err != nil {
		t.Fatal(err)
	}

	// The tasks that the monitor has started are others than ours.
	for _, b := range []*box{always, failed} {
		// It must not start them once more while they are being removed.
		if _, err := b.SetLabels(ctx, map[string]string{restart.StatusLabel: "", restart.ExplicitlyStoppedLabel: "true"}); err != nil {
			t.Fatal(err)
		}
		task, err := b.Task(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		b.task = task
	}
}
