package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
)

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
