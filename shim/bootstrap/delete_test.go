package bootstrap

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// remains is a container as a killed shim leaves it: a process in a control
// group, a mounted root file system, a state.
type remains struct {
	id, dir string
	group   *cgroups.Group
	process *exec.Cmd
	ended   chan struct{} // closed once the process was reaped
}

func leaveContainer(t *testing.T, id string) *remains {
	t.Helper()
	r := &remains{id: id, dir: newBundle(t, id, `{}`), ended: make(chan struct{})}
	path := fmt.Sprintf("/shim-delete-test-%d-%s", os.Getpid(), id)
	var err error
	if r.group, err = cgroups.New(cgroups.Config{ID: id, Path: path}); err != nil {
		t.Fatal(err)
	}
	r.process = exec.Command("sleep", "300")
	r.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = r.process.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.process.Process.Kill()
		<-r.ended
		if err := r.group.Delete(); err != nil {
			t.Error(err)
		}
	})
	if err := r.group.Add(r.process.Process.Pid); err != nil {
		t.Fatal(err)
	}
	for _, below := range []string{"rootfs", "rootfs/data"} {
		target := filepath.Join(r.dir, below)
		if err := os.MkdirAll(target, 0o711); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", target, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
	r.write(t, bundle.State{Pid: r.process.Process.Pid, CgroupPath: path})
	return r
}

func (r *remains) write(t *testing.T, s bundle.State) {
	t.Helper()
	s.ID = r.id
	if err := bundle.Write(r.dir, s); err != nil {
		t.Fatal(err)
	}
}

func (r *remains) mounts(t *testing.T) (n int) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), " "+r.dir)
}

func (r *remains) running() bool { return !gone(r.process.Process.Pid) }

// runDelete runs the action as containerd does on Linux.
func runDelete(t *testing.T, dir, id string) *taskv2.DeleteResponse {
	t.Helper()
	stdout, stderr, err := runShim(t, dir, nil, nil, deleteArgs(dir, id)...)
	if err != nil || stderr != "" {
		t.Fatalf("delete: %v, stderr %q", err, stderr)
	}
	var response taskv2.DeleteResponse
	if err := proto.Unmarshal([]byte(stdout), &response); err != nil {
		t.Fatal(err)
	}
	return &response
}

func deleteArgs(dir, id string) []string {
	return []string{"-namespace", "default", "-address", "/run/containerd/containerd.sock",
		"-publish-binary", "/usr/bin/containerd", "-id", id, "-bundle", dir, "delete"}
}

func TestDeleteAfterTheShimWasKilled(t *testing.T) {
	c, sibling := leaveContainer(t, "c1"), leaveContainer(t, "c2")
	before := time.Now()
	first := runDelete(t, c.dir, "c1")

	if c.running() {
		t.Error("the container's process runs")
	}
	if n := c.mounts(t); n != 0 {
		t.Errorf("%d mounts are left", n)
	}
	if paths := groupDirs(t, c.id); len(paths) != 0 {
		t.Errorf("control groups %v are left", paths)
	}
	if first.ExitStatus != 137 || first.Pid != uint32(c.process.Process.Pid) {
		t.Errorf("answer %v", first)
	}
	if at := first.ExitedAt.AsTime(); at.Before(before) || at.After(time.Now()) {
		t.Errorf("exited at %v", at)
	}
	if again := runDelete(t, c.dir, "c1"); !proto.Equal(again, first) {
		t.Errorf("first %v, again %v", first, again)
	}
	if !sibling.running() || sibling.mounts(t) != 2 || len(groupDirs(t, sibling.id)) == 0 {
		t.Error("the container beside it was touched")
	}
}

// groupDirs returns the directories of the test's control group of container id.
func groupDirs(t *testing.T, id string) []string {
	t.Helper()
	name := fmt.Sprintf("shim-delete-test-%d-%s", os.Getpid(), id)
	v1, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		t.Fatal(err)
	}
	v2, err := filepath.Glob("/sys/fs/cgroup/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return append(v1, v2...)
}

func TestDeleteOfAPausedContainer(t *testing.T) {
	c := leaveContainer(t, "c1")
	if err := c.group.Freeze(); err != nil {
		t.Fatal(err)
	}
	if got := runDelete(t, c.dir, "c1"); got.ExitStatus != 137 {
		t.Errorf("answer %v", got)
	}
	if c.running() {
		t.Error("the container's process runs")
	}
	if paths := groupDirs(t, c.id); len(paths) != 0 {
		t.Errorf("control groups %v are left", paths)
	}
}

func TestDeleteAnswersTheStatusKept(t *testing.T) {
	c := leaveContainer(t, "c1")
	status, at := uint32(3), time.Now().Add(-time.Hour).UTC().Round(0)
	c.write(t, bundle.State{Pid: 4711, CgroupPath: "/absent-group", ExitStatus: &status, ExitedAt: at})
	for range 2 {
		got := runDelete(t, c.dir, "c1")
		if got.Pid != 4711 || got.ExitStatus != status || !got.ExitedAt.AsTime().Equal(at) {
			t.Errorf("answer %v, want status %d at %v", got, status, at)
		}
	}
	if n := c.mounts(t); n != 0 {
		t.Errorf("%d mounts are left", n)
	}
}

func TestDeleteOfWhatWasNeverCreated(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	if got := runDelete(t, dir, "c1"); got.ExitStatus != 137 || got.Pid != 0 || got.ExitedAt == nil {
		t.Errorf("answer %v", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	if got := runDelete(t, dir, "c1"); got.ExitStatus != 137 {
		t.Errorf("without a rootfs, answer %v", got)
	}
}

func TestDeleteTouchesNoOtherContainer(t *testing.T) {
	c := leaveContainer(t, "c1")
	stdout, stderr, err := runShim(t, c.dir, nil, nil, deleteArgs(c.dir, "c2")...)
	if err == nil || !strings.Contains(stderr, "c1") || !strings.Contains(stderr, "c2") {
		t.Errorf("delete of c2 in c1's bundle: %q, stderr %q, %v", stdout, stderr, err)
	}
	if !c.running() || c.mounts(t) != 2 {
		t.Error("c1 was touched")
	}
}

func TestDeleteLeavesALivingShimAlone(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	address := startLegacy(t, dir, "c1")
	pid := shimPid(t, address)
	runDelete(t, dir, "c1")
	if again := shimPid(t, address); again != pid {
		t.Errorf("shim %d, then %d", pid, again)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	runDelete(t, dir, "c1")
	noFile(t, socketPath(address))
}

// schedCookie reads the core scheduling cookie of a process.
func schedCookie(pid int, cookie *uint64) error {
	return unix.Prctl(unix.PR_SCHED_CORE, unix.PR_SCHED_CORE_GET, uintptr(pid), 0 /* the thread */, uintptr(unsafe.Pointer(cookie)))
}
