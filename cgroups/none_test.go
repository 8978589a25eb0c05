package cgroups

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// unprivileged says that this process is one in a user namespace, to which no
// group has been delegated.
var unprivileged bool

// TestNone runs itself once more, as such a process.
func TestNone(t *testing.T) {
	if unprivileged {
		t.Run("without limits", withoutLimits)
		t.Run("with limits", withLimits)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestNone$")
	cmd.Env = append(os.Environ(), roleVar+"=unprivileged")
	ids := []syscall.SysProcIDMap{{HostID: 100000, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{NoSetGroups: true},
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "--- PASS: TestNone/without_limits") {
		t.Error("the test did not run")
	}
}

func withoutLimits(t *testing.T) {
	g := group(t, &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}},
		CPU:     &specs.LinuxCPU{Shares: ptr[uint64](defaultShares)}, // as ctr has it
	})
	dir, err := g.Dir()
	if dir != nil || err != nil {
		t.Fatal(dir, err)
	}
	first, second := cast(t, "wait"), cast(t, "wait")
	if err := g.Add(first.pid()); err != nil {
		t.Fatal(err)
	}
	if err := g.Join(second.pid()); err != nil {
		t.Fatal(err)
	}
	members := func(want ...int) {
		t.Helper()
		if pids, err := g.Pids(); err != nil || !slices.Equal(pids, want) {
			t.Errorf("pids are %v, %v, want %v", pids, err, want)
		}
	}
	members(first.pid(), second.pid())

	_, metricsErr := g.Metrics()
	for what, err := range map[string]error{
		"freeze":  g.Freeze(),
		"thaw":    g.Thaw(),
		"metrics": metricsErr,
		"oom":     g.WatchOOM(t.Context(), func() {}),
		"update":  g.Update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](7)}}),
	} {
		if !errors.Is(err, ErrNoGroup) {
			t.Errorf("%s: %v", what, err)
			continue
		}
		wants(t, err, "Delegate=yes")
	}
	if err := g.Update(&specs.LinuxResources{}); err != nil {
		t.Error("an update of nothing:", err)
	}
	if kills, err := g.OOMKills(); kills != 0 || err != nil {
		t.Errorf("%d kills, %v", kills, err)
	}

	second.in.Close() // which ends it
	second.wait()
	members(first.pid())
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	first.wait()
	members()
	if err := g.Delete(); err != nil {
		t.Error(err)
	}
	if n := pidfds(t); n != 0 { // all of the actors have been waited for
		t.Errorf("%d pidfds are open", n)
	}
}

func withLimits(t *testing.T) {
	g := group(t, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](7)}})
	_, err := g.Dir()
	if err == nil {
		err = g.Add(cast(t, "wait").pid())
	}
	wants(t, err, "linux.resources.pids.limit", "permission denied", "cgroup v2", "Delegate=yes")
	if errors.Is(err, ErrNoGroup) {
		t.Error("a limit that does not hold is taken for one that need not")
	}
}

func pidfds(t *testing.T) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if target, _ := os.Readlink(file); strings.Contains(target, "pidfd") {
			n++
		}
	}
	return n
}
