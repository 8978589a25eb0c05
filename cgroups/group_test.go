package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1/stats"
	stats2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	control "github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/systemd"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestUnified runs all tests on cgroup v2 where the host has v1.
func TestUnified(t *testing.T) {
	if !unified() && !scopes {
		again(t, "unified", unix.CLONE_NEWNS)
	}
}

// TestSystemd runs all tests with the systemd driver, where systemd runs; what
// happens elsewhere is in TestLocate.
func TestSystemd(t *testing.T) {
	if systemd.IsRunningSystemd() && !scopes {
		again(t, "systemd", 0)
	}
}

// again runs all tests in another process, where role changes what they see.
func again(t *testing.T, role string, flags uintptr) {
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.skip=^(TestUnified|TestSystemd)$")
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "--- PASS: TestDirBirth") {
		t.Error("the tests did not run")
	}
}

func TestDirBirth(t *testing.T) {
	g := group(t, nil)
	dir, err := g.Dir()
	if err != nil {
		t.Fatal(err)
	}
	if !unified() || scopes {
		if dir != nil {
			t.Error("Dir opened a directory, though no process can be born in it")
		}
		return
	}
	defer dir.Close()
	a := castIn(t, "wait", dir)
	if pids, err := g.Pids(); err != nil || !slices.Equal(pids, []int{a.pid()}) {
		t.Fatalf("processes %v, %v; want %d, from its birth", pids, err, a.pid())
	}
	if err := g.Add(a.pid()); err != nil {
		t.Fatal(err)
	}
}

func TestJoin(t *testing.T) {
	g, first := inhabited(t, nil, "wait")
	second := cast(t, "wait")
	if err := g.Join(second.pid()); err != nil {
		t.Fatal(err)
	}
	pids, err := g.Pids()
	slices.Sort(pids)
	want := []int{first.pid(), second.pid()}
	slices.Sort(want)
	if err != nil || !slices.Equal(pids, want) {
		t.Fatalf("processes %v, %v; want %v", pids, err, want)
	}
	// In every hierarchy, not only the one that Pids looks at.
	groups := func(pid int) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if its, theirs := groups(first.pid()), groups(second.pid()); its != theirs {
		t.Errorf("the groups are\n%s and of the one that joined\n%s", its, theirs)
	}
}

func TestFreezeThaw(t *testing.T) {
	g, a := inhabited(t, nil, "tick")
	a.begin(t)
	if a.says(20*time.Second) != "tick" {
		t.Fatal("the process does not run")
	}
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	a.raw.SetReadDeadline(time.Now().Add(time.Second)) // what it wrote before
	for {
		if _, err := a.out.ReadString('\n'); err != nil {
			break
		}
	}
	if line := a.says(300 * time.Millisecond); line != "" {
		t.Error("a frozen process goes on")
	}
	if err := g.Update(&specs.LinuxResources{}); err != nil {
		t.Error(err)
	}
	if line := a.says(100 * time.Millisecond); line != "" {
		t.Error("an update thaws")
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	if a.says(20*time.Second) != "tick" {
		t.Error("a thawed process does not run")
	}
}

// TestFreezeBusy freezes a process that others leave little of a processor. Some
// kernels leave it none for longer than Freeze waits; then it says so, and the
// process is not frozen.
func TestFreezeBusy(t *testing.T) {
	g, a := inhabited(t, nil, "spin 19")
	spin := func(a *actor) {
		a.begin(t)
		if a.says(20*time.Second) != "spinning" {
			t.Fatal("the process does not run")
		}
	}
	spin(a)
	for range 8 {
		spin(cast(t, "spin 0"))
	}
	for range 3 {
		if err := g.Freeze(); err != nil {
			if !strings.Contains(err.Error(), "its processes do not stand still within 10 s") {
				t.Fatal(err)
			}
			if state, err := g.manager.GetFreezerState(); err != nil || state != control.Thawed {
				t.Errorf("after that the group is %q (%v)", state, err)
			}
			return
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKillOfFrozen(t *testing.T) {
	g, a := inhabited(t, nil, "wait")
	if err := g.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	a.killed(t)
	if err := g.Kill(); err != nil {
		t.Errorf("second Kill: %v", err)
	}
}

// TestAnotherProcess does what the shim's delete command does after its daemon
// was killed.
func TestAnotherProcess(t *testing.T) {
	cfg := Config{ID: "test", Path: path(), Resources: &specs.LinuxResources{}}
	a := cast(t, "wait")
	if err := groupOf(t, cfg).Add(a.pid()); err != nil {
		t.Fatal(err)
	}
	again, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if pids, err := again.Pids(); err != nil || !slices.Equal(pids, []int{a.pid()}) {
		t.Fatalf("processes %v, %v; want %d", pids, err, a.pid())
	}
	wants(t, again.Delete(), again.name, "still holds")
	if err := again.Kill(); err != nil {
		t.Fatal(err)
	}
	a.killed(t)
	if err := again.Delete(); err != nil {
		t.Fatal(err)
	}
	gone(t, again)
}

func TestDelete(t *testing.T) {
	g, a := inhabited(t, nil, "wait")
	for _, dir := range g.paths {
		if _, err := os.Stat(dir); err == nil {
			if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.in.Close() // ends while Delete waits for it
	go a.wait()
	if err := g.Delete(); err != nil {
		t.Fatal(err)
	}
	gone(t, g)
	if err := g.Delete(); err != nil {
		t.Errorf("second Delete: %v", err)
	}
	if pids, err := g.Pids(); len(pids) != 0 || err != nil {
		t.Errorf("processes %v, %v of no group", pids, err)
	}
	if _, err := g.Metrics(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("metrics of no group: %v", err)
	}
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Errorf("out-of-memory kills %d, %v of no group", n, err)
	}
}

// gone fails if any hierarchy still has the group.
func gone(t *testing.T, g *Group) {
	t.Helper()
	left, err := filepath.Glob("/sys/fs/cgroup/*" + g.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(left, "/sys/fs/cgroup"+g.name) {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}

func TestGroupOfAnother(t *testing.T) {
	cfg := Config{ID: "first", Path: path()}
	a, b := cast(t, "wait"), cast(t, "wait")
	if err := groupOf(t, cfg).Add(a.pid()); err != nil {
		t.Fatal(err)
	}
	cfg.ID = "second"
	second, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, second.Add(b.pid()), second.name, "already holds")
	if err := errors.Join(second.Kill(), second.Delete()); err != nil {
		t.Error(err)
	}
	a.begin(t)
	time.Sleep(50 * time.Millisecond)
	if err := a.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the first container's process: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	r := &specs.LinuxResources{}
	if has("memory") {
		r.Memory = &specs.LinuxMemory{Limit: ptr[int64](64 << 20)}
	}
	g, a := inhabited(t, r, "tick")
	a.begin(t)
	a.says(20 * time.Second)
	m, err := g.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	var cpu, limit, usage, pids uint64
	switch m := m.(type) {
	case *stats.Metrics:
		if unified() {
			t.Fatal("v1 metrics on v2")
		}
		cpu, limit, usage, pids = m.CPU.Usage.Total, m.Memory.Usage.Limit, m.Memory.Usage.Usage, m.Pids.Current
	case *stats2.Metrics:
		if !unified() {
			t.Fatal("v2 metrics on v1")
		}
		cpu, limit, usage, pids = m.CPU.UsageUsec, m.Memory.UsageLimit, m.Memory.Usage, m.Pids.Current
	default:
		t.Fatalf("metrics are a %T", m)
	}
	if cpu == 0 {
		t.Error("no processor time used")
	}
	if has("memory") && (limit != 64<<20 || usage == 0) {
		t.Errorf("memory %d of %d", usage, limit)
	}
	if has("pids") && pids == 0 {
		t.Error("no processes")
	}
}

func TestDevices(t *testing.T) {
	kmsg := filepath.Join(t.TempDir(), "kmsg")
	if err := unix.Mknod(kmsg, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 11))); err != nil {
		t.Fatal(err)
	}
	all := specs.LinuxDeviceCgroup{Allow: false, Access: "rwm"}
	for _, test := range []struct {
		name  string
		rules []specs.LinuxDeviceCgroup
		kmsg  string
	}{
		{"none", nil, "false"},
		{"allowed", []specs.LinuxDeviceCgroup{all, {Allow: true, Type: "c", Major: ptr[int64](1), Minor: ptr[int64](11), Access: "mrw"}}, "true"},
		{"written only", []specs.LinuxDeviceCgroup{all, {Allow: true, Type: "c", Major: ptr[int64](1), Minor: ptr[int64](11), Access: "w"}}, "false"},
		{"another of any type", []specs.LinuxDeviceCgroup{all, {Allow: true, Type: "a", Major: ptr[int64](10), Access: "rwm"}}, "false"},
		{"any", []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, "true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, a := inhabited(t, &specs.LinuxResources{Devices: test.rules}, "open "+kmsg+" /dev/null")
			// What an update says of devices changes nothing.
			if err := g.Update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}); err != nil {
				t.Fatal(err)
			}
			a.begin(t)
			if got := a.says(20 * time.Second); got != test.kmsg {
				t.Errorf("/dev/kmsg can be opened: %s", got)
			}
			if got := a.says(20 * time.Second); got != "true" {
				t.Error("/dev/null cannot be opened")
			}
		})
	}
	_, err := New(Config{ID: "test", Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "x"}}}})
	wants(t, err, "linux.resources.devices[0].access", `"x"`)
	_, err = New(Config{ID: "test", Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "p", Access: "r"}}}})
	wants(t, err, "linux.resources.devices[0].type", `"p"`)
}

func TestLocate(t *testing.T) {
	for _, test := range []struct {
		path, want string
	}{
		{"", "/wasm-test"},
		{"/kubepods/burstable/pod1/c", "/kubepods/burstable/pod1/c"},
		{"c", "/c"},
		{"/../../c", "/c"},
		{"/a:b:c", "/a:b:c"},
		{"a:b", "/a:b"},
	} {
		g, err := New(Config{ID: "test", Path: test.path})
		if err != nil || g.name != test.want {
			t.Errorf("path %q: %+v, %v; want %q", test.path, g, err, test.want)
		}
	}
	for _, path := range []string{"/", "..", "."} {
		_, err := New(Config{ID: "test", Path: path})
		wants(t, err, "linux.cgroupsPath", "root group")
	}
	_, err := New(Config{ID: "test", Path: "/not/systemd", Systemd: true})
	wants(t, err, "linux.cgroupsPath", "slice:prefix:name")
	_, err = New(Config{ID: "test", Path: "system.slice:docker:"})
	wants(t, err, "linux.cgroupsPath", "name", "empty")
	_, err = New(Config{ID: "test", Path: "system.slice:docker:x.slice"})
	wants(t, err, "linux.cgroupsPath", "scope")
	if !systemd.IsRunningSystemd() {
		_, err = New(Config{ID: "test", Path: "system.slice:docker:x"})
		wants(t, err, "linux.cgroupsPath", "systemd does not run")
		return
	}
	for path, want := range map[string]string{
		"":                                     "/system.slice/wasm-test.scope",
		"system.slice:docker:x":                "/system.slice/docker-x.scope",
		":docker:x":                            "/system.slice/docker-x.scope",
		"kubepods-pod1.slice:cri-containerd:x": "/kubepods.slice/kubepods-pod1.slice/cri-containerd-x.scope",
	} {
		g, err := New(Config{ID: "test", Path: path, Systemd: true})
		if err != nil || g.name != want {
			t.Errorf("path %q: %+v, %v; want %q", path, g, err, want)
		}
	}
}
