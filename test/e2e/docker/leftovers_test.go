package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

// empty fails where anything is left of the engine's containers.
func (e engine) empty(t *testing.T) {
	t.Helper()
	if left := e.must(t, "ps", "--all", "--quiet"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if left = leftovers(t); len(left) == 0 {
			return
		}
	}
	t.Errorf("left behind: %q", left)
}

// leftovers are shims, containers' processes, mounts and control groups.
func leftovers(t *testing.T) (left []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		comm, _ := os.ReadFile(name) // which may have ended
		switch what := strings.TrimSpace(string(comm)); what {
		case "containerd-shim", "wasm-sandbox", "app":
			left = append(left, what)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		for _, part := range []string{"/rootfs", "/overlay2/", "/mounts/shm", "/netns/"} {
			if strings.Contains(line, dir) && strings.Contains(line, part) && !strings.Contains(line, "/netns/default") {
				left = append(left, strings.TrimSpace(line))
			}
		}
	}
	groups, err := isolate.Cgroups(filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		if filepath.Base(group) != filepath.Base(dir) {
			left = append(left, group)
		}
	}
	return left
}
