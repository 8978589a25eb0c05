package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestMain builds the sandbox program beside the test's own, where Create looks for it.
func TestMain(m *testing.M) {
	self, err := os.Executable()
	if err == nil {
		// A user namespace's root must be able to execute it.
		err = openToAll(filepath.Dir(self))
	}
	if err == nil {
		build := exec.Command("go", "build", "-o", filepath.Join(filepath.Dir(self), programName), "../cmd/"+programName)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building the sandbox program:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	// (module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
	//   (func (export "_start") i32.const 7 call 0))
	exits = "\x00asm\x01\x00\x00\x00\x01\x08\x02\x60\x01\x7f\x00\x60\x00\x00\x02\x24\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x00" +
		"\x03\x02\x01\x01\x07\x0a\x01\x06_start\x00\x01\x0a\x08\x01\x06\x00\x41\x07\x10\x00\x0b"
	// (module (func (export "_start") (loop (br 0))))
	spins = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x0a\x01\x06_start\x00\x00\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b"
)

// newConfig returns a container that runs the module, with namespaces of its own.
func newConfig(t *testing.T, module string) Config {
	t.Helper()
	rootfs := t.TempDir()
	if err := os.WriteFile(filepath.Join(rootfs, "app.wasm"), []byte(module), 0o644); err != nil {
		t.Fatal(err)
	}
	return Config{
		ID:     "test",
		Rootfs: rootfs,
		Module: Module{Paths: []string{"/app.wasm"}, Args: []string{"/app.wasm"}},
		Spec: &specs.Spec{
			Version: specs.Version,
			Root:    &specs.Root{Path: rootfs},
			Process: &specs.Process{Cwd: "/", Args: []string{"/app.wasm"}},
			Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
				{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace},
			}},
		},
	}
}

// create creates a process that is gone when the test is.
func create(t *testing.T, cfg Config) *Process {
	t.Helper()
	p, err := Create(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(unix.SIGKILL)
		var status unix.WaitStatus
		_, _ = unix.Wait4(p.Pid(), &status, 0, nil)
		p.Close()
	})
	return p
}

// wait waits for the process and returns its exit status as shells write it.
func wait(t *testing.T, p *Process) int {
	t.Helper()
	ended := make(chan unix.WaitStatus, 1)
	go func() {
		var status unix.WaitStatus
		if _, err := unix.Wait4(p.Pid(), &status, 0, nil); err == nil {
			ended <- status
		}
	}()
	select {
	case status := <-ended:
		if status.Signaled() {
			return 128 + int(status.Signal())
		}
		return status.ExitStatus()
	case <-time.After(20 * time.Second):
		t.Fatal("the process did not end")
		return -1
	}
}

func TestGuestRunsAfterStartAlone(t *testing.T) {
	p := create(t, newConfig(t, exits))
	before := processorTime(t, p.Pid())
	time.Sleep(50 * time.Millisecond)
	if after := processorTime(t, p.Pid()); after > before+1 {
		t.Errorf("before Start the process computes: %d ticks, then %d", before, after)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if status := wait(t, p); status != 7 {
		t.Errorf("exit status %d, want the guest's 7", status)
	}
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a signal to an ended process: %v, want os.ErrProcessDone", err)
	}
}

func TestJoinedIsCalledBeforeAnyWork(t *testing.T) {
	cfg := newConfig(t, exits)
	var joined int
	cfg.Joined = func(pid int) error {
		joined = pid
		// The root file system is still the parent's: nothing has been done.
		root, err := os.Readlink(fmt.Sprintf("/proc/%d/root", pid))
		if err == nil && root != "/" {
			err = fmt.Errorf("root is %s", root)
		}
		return err
	}
	if p := create(t, cfg); p.Pid() != joined {
		t.Errorf("Joined was called with %d, the process is %d", joined, p.Pid())
	}

	cfg.Joined = func(pid int) error { joined = pid; return errors.New("no such cgroup") }
	if _, err := Create(context.Background(), cfg); err == nil || err.Error() != "no such cgroup" {
		t.Errorf("got %v, want what Joined returned", err)
	}
	reap(t, joined)
}

// reap waits for a child that Create has killed.
func reap(t *testing.T, pid int) {
	t.Helper()
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	if !status.Signaled() && status.ExitStatus() == 0 {
		t.Errorf("the process went on to exit status 0")
	}
}

func TestCreateRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"a missing module", func(c *Config) { c.Module.Paths = []string{"/nope.wasm"}; c.Module.Args[0] = "nope.wasm" },
			"module nope.wasm: no such file or directory in the container (looked for /nope.wasm)"},
		{"a directory", func(c *Config) { c.Module.Paths = []string{"/"} }, "is a directory"},
		{"a missing network namespace", func(c *Config) { c.Spec.Linux.Namespaces[4].Path = "/proc/self/ns/nope" }, "linux.namespaces[network]"},
		{"a namespace of another kind", func(c *Config) { c.Spec.Linux.Namespaces[4].Path = "/proc/self/ns/uts" }, "linux.namespaces[network]: joining"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := newConfig(t, exits)
			test.change(&cfg)
			var pid int
			cfg.Joined = func(p int) error { pid = p; return nil }
			_, err := Create(context.Background(), cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
			if pid != 0 {
				reap(t, pid)
			}
		})
	}
}

func TestAFifoForAModuleDoesNotBlock(t *testing.T) {
	cfg := newConfig(t, exits)
	if err := unix.Mkfifo(filepath.Join(cfg.Rootfs, "fifo.wasm"), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Module.Paths = []string{"/fifo.wasm"}
	var pid int
	cfg.Joined = func(p int) error { pid = p; return nil }
	if _, err := Create(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
	reap(t, pid)
}

// openToAll lets a user namespace's root reach the folder.
func openToAll(dir string) error {
	for ; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func TestSystemCallFilters(t *testing.T) {
	for name, test := range map[string]struct {
		profile *specs.LinuxSeccomp
		code    int
	}{
		"the sandbox's": {nil, 7},
		"the sandbox's and a spec's": {&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"exit_group"}, Action: specs.ActKillProcess}}}, 128 + int(unix.SIGSYS)},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newConfig(t, exits)
			cfg.Spec.Linux.Seccomp = test.profile
			p := create(t, cfg)
			tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.Pid()))
			if err != nil || len(tasks) < 2 {
				t.Fatalf("threads: %v, %v", tasks, err)
			}
			for _, task := range tasks {
				status, err := os.ReadFile(task)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(status), "Seccomp:\t2\nSeccomp_filters:\t1\n") {
					t.Errorf("%s has no filter, or several:\n%s", task, status)
				}
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			if code := wait(t, p); code != test.code {
				t.Errorf("exit status %d, want %d", code, test.code)
			}
		})
	}
	cfg := newConfig(t, exits)
	cfg.Spec.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActNotify}
	if _, err := Create(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "linux.seccomp.defaultAction") {
		t.Errorf("got %v, want an error that names the field", err)
	}
}

// descriptors lists a process's open descriptors: number, mode and what it is.
func descriptors(t *testing.T, pid int) (list []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d", pid)
	entries, err := os.ReadDir(dir + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Stat(dir + "/root/")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		target, err := os.Readlink(dir + "/fd/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.ReadFile(dir + "/fdinfo/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		var position int64
		var flags int
		if _, err := fmt.Sscanf(string(info), "pos:\t%d\nflags:\t0%o", &position, &flags); err != nil {
			t.Fatal(err)
		}
		if opened, err := os.Stat(dir + "/fd/" + entry.Name()); err == nil && os.SameFile(opened, root) {
			target = "the container's " + target
		}
		if strings.HasPrefix(target, "pipe:") {
			target = "pipe"
		}
		mode := []string{"read", "write", "read and write"}[flags&unix.O_ACCMODE]
		list = append(list, fmt.Sprintf("%s %s %s", entry.Name(), mode, target))
	}
	return list
}

func TestOutputAndDescriptors(t *testing.T) {
	cfg := newConfig(t, spins)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cfg.Stdout = w
	p := create(t, cfg)
	w.Close()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntilComputing(t, p.Pid())
	held := descriptors(t, p.Pid())
	want := map[string]bool{
		"0 read and write /dev/null": true, "1 write pipe": true, "2 read and write /dev/null": true, // its streams
		"read the container's /":                true, // the guest's preopened directory
		"read and write anon_inode:[eventpoll]": true, // the Go runtime's poller
		"read and write anon_inode:[eventfd]":   true, // and what wakes it
	}
	for _, descriptor := range held {
		if number, rest, _ := strings.Cut(descriptor, " "); !want[descriptor] && (slices.Contains([]string{"0", "1", "2"}, number) || !want[rest]) {
			t.Errorf("the running guest's process holds %s", descriptor)
		}
	}
	if len(held) < 3 {
		t.Errorf("without standard streams: %q", held)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("after the exit: %q, %v; want the end of the file", rest, err)
	}
}
