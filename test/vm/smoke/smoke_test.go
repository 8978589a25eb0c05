// Package smoke shows that the virtual machine has what the tests on cgroup v2
// rest upon. It is only meant to run there, and uses nothing but the kernel.
package smoke

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const root = "/sys/fs/cgroup"

// role names what the test binary does when it is started by a test as the
// process in the group.
const role = "VM_SMOKE_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "spin":
		fmt.Println("ready")
		for {
		}
	case "allocate":
		fmt.Println("ready")
		block := bytes.Repeat([]byte{1}, 256<<20)
		fmt.Println(len(block))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// group makes a control group that goes away with the test.
func group(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(root, t.Name())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func set(t *testing.T, dir, file, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// counter reads one line of a flat-keyed file such as memory.events.
func counter(t *testing.T, dir, file, key string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+" "); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s:\n%s", file, key, text)
	return 0
}

// start runs the test binary in a role, born in the group, and returns when it
// has begun.
func start(t *testing.T, dir, what string) *exec.Cmd {
	t.Helper()
	fd, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{role + "=" + what, "GOMAXPROCS=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		set(t, dir, "cgroup.kill", "1")
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the process in the group said %q, %v", line, err)
	}
	return cmd
}

func TestControllers(t *testing.T) {
	const cgroup2Magic = 0x63677270
	var fs syscall.Statfs_t
	if err := syscall.Statfs(root, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type != cgroup2Magic {
		t.Fatalf("%s is not a cgroup v2 hierarchy", root)
	}
	// Where process 1 is systemd, it enables only those its units ask for.
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"} {
		set(t, root, "cgroup.subtree_control", "+"+controller)
	}
}

func TestCloneIntoCgroup(t *testing.T) {
	dir := group(t)
	cmd := start(t, dir, "spin")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(text)), "0::/"+t.Name(); got != want {
		t.Fatalf("the process is in %q, want %q", got, want)
	}
}

func TestMemoryLimit(t *testing.T) {
	dir := group(t)
	set(t, dir, "memory.max", "64M")
	cmd := start(t, dir, "allocate")
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("allocating 256 MiB under a limit of 64 ended with %v, want SIGKILL", cmd.ProcessState)
	}
	if n := counter(t, dir, "memory.events", "oom_kill"); n != 1 {
		t.Errorf("memory.events counts %d kills, want 1", n)
	}
}

func TestFreeze(t *testing.T) {
	dir := group(t)
	start(t, dir, "spin")
	set(t, dir, "cgroup.freeze", "1")
	deadline := time.Now().Add(10 * time.Second)
	for counter(t, dir, "cgroup.events", "frozen") != 1 {
		if time.Now().After(deadline) {
			t.Fatal("the group did not freeze within 10 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
	before := counter(t, dir, "cpu.stat", "usage_usec")
	time.Sleep(500 * time.Millisecond)
	if after := counter(t, dir, "cpu.stat", "usage_usec"); after != before {
		t.Errorf("a frozen group used %d µs of processor time", after-before)
	}
	set(t, dir, "cgroup.freeze", "0")
	time.Sleep(500 * time.Millisecond)
	if after := counter(t, dir, "cpu.stat", "usage_usec"); after == before {
		t.Error("a thawed group used no processor time")
	}
}

func TestCPUQuota(t *testing.T) {
	dir := group(t)
	set(t, dir, "cpu.max", "20000 100000")
	start(t, dir, "spin")
	began, before := time.Now(), counter(t, dir, "cpu.stat", "usage_usec")
	time.Sleep(5 * time.Second)
	used := counter(t, dir, "cpu.stat", "usage_usec") - before
	share := 100 * float64(used) / float64(time.Since(began).Microseconds())
	if share < 17 || share > 23 {
		t.Errorf("a busy loop under a quota of 20 %% used %.1f %%", share)
	}
	t.Logf("used %.1f %%", share)
}
