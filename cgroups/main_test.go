package cgroups

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	control "github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The tests make real groups, as root, on whichever cgroup version is mounted.
// Where that is v1 they run once more, in a mount namespace of their own, on a v2
// mount that has few controllers or none (see TestUnified).
//
// Where systemd runs, they run once more with its driver (see TestSystemd).
//
// roleVar makes this program the process inside a group, or another run of the tests.
const roleVar = "CGROUPS_TEST_ROLE"

func TestMain(m *testing.M) {
	role := strings.Fields(os.Getenv(roleVar))
	if len(role) == 0 {
		os.Exit(m.Run())
	}
	switch role[0] {
	case "unified":
		must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must(unix.Mount("none", "/sys/fs/cgroup", "cgroup2", 0, ""))
	case "systemd":
		scopes = true
	case "unprivileged":
		unprivileged = true
	default:
		play(role[0], role[1:])
	}
	os.Unsetenv(roleVar)
	os.Exit(m.Run())
}

func must(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// play is a process of a group: it waits for a line before it works, and ends
// with its standard input.
func play(role string, args []string) {
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		os.Exit(0)
	}
	switch role {
	case "wait":
	case "tick":
		go func() {
			for {
				fmt.Println("tick")
				time.Sleep(time.Millisecond)
			}
		}()
	case "spin": // on the first processor, as nice as told
		runtime.LockOSThread()
		nice, err := strconv.Atoi(args[0])
		must(err)
		must(unix.Setpriority(unix.PRIO_PROCESS, 0, nice))
		first := &unix.CPUSet{}
		first.Set(0)
		must(unix.SchedSetaffinity(0, first))
		fmt.Println("spinning")
		go func() {
			io.Copy(io.Discard, in)
			os.Exit(0)
		}()
		for {
		}
	case "hog":
		const size = 256 << 20
		memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		must(err)
		for i := 0; i < size; i += 4096 {
			memory[i] = 1
		}
		fmt.Println("survived")
	case "open":
		for _, path := range args {
			f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if err == nil {
				f.Close()
			}
			fmt.Println(err == nil)
		}
	}
	io.Copy(io.Discard, in)
	os.Exit(0)
}

// actor is a process that plays a role.
type actor struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	raw *os.File
	// wait reaps it, once, however often it is called.
	wait func() error
}

func cast(t *testing.T, role string) *actor {
	t.Helper()
	return castIn(t, role, nil)
}

// castIn starts an actor, inside the group of dir if that is not nil. It ends
// with the test.
func castIn(t *testing.T, role string, dir *os.File) *actor {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	// The race detector would delay the end of each process by a second.
	cmd.Env = []string{roleVar + "=" + role, "GORACE=atexit_sleep_ms=0"}
	if dir != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	a := &actor{cmd, in, bufio.NewReader(r), r, sync.OnceValue(cmd.Wait)}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		a.wait()
		r.Close()
	})
	return a
}

func (a *actor) pid() int { return a.Process.Pid }

// begin lets the actor work.
func (a *actor) begin(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(a.in, "\n"); err != nil {
		t.Fatal(err)
	}
}

// says reads a line of the actor; "" when it has ended or is silent for long.
func (a *actor) says(long time.Duration) string {
	a.raw.SetReadDeadline(time.Now().Add(long))
	line, _ := a.out.ReadString('\n')
	return strings.TrimSpace(line)
}

// killed waits for the actor's end and fails unless SIGKILL was the cause.
func (a *actor) killed(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	go func() { a.wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the process has not ended")
	}
	if s := a.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGKILL {
		t.Fatalf("the process ended with %v, not by SIGKILL", a.ProcessState)
	}
}

var groups atomic.Int32

// scopes makes the tests use the systemd driver.
var scopes bool

// path is one that no other test has.
func path() string {
	name := fmt.Sprintf("wasm-cgroups-test-%d-%d", os.Getpid(), groups.Add(1))
	if scopes {
		return "system.slice:test:" + name
	}
	return "/" + name
}

// group makes a Group of resources that is removed after the test.
func group(t *testing.T, r *specs.LinuxResources) *Group {
	t.Helper()
	return groupOf(t, Config{ID: "test", Path: path(), Resources: r})
}

func groupOf(t *testing.T, cfg Config) *Group {
	t.Helper()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Kill(); err != nil {
			t.Error(err)
		}
		if err := g.Delete(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// inhabited makes a group with an actor in it that has not begun.
func inhabited(t *testing.T, r *specs.LinuxResources, role string) (*Group, *actor) {
	t.Helper()
	g := group(t, r)
	a := cast(t, role)
	if err := g.Add(a.pid()); err != nil {
		t.Fatal(err)
	}
	return g, a
}

func unified() bool { return control.IsCgroup2UnifiedMode() }

// has reports whether a controller can be had for a group at the root.
func has(controller string) bool {
	if unified() {
		all, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		return err == nil && strings.Contains(" "+strings.TrimSpace(string(all))+" ", " "+controller+" ")
	}
	_, err := control.FindCgroupMountpoint("", controller)
	return err == nil
}

// read returns a file of a group, without its last line feed.
func (g *Group) read(t *testing.T, controller, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(g.dir(controller), file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(content), "\n")
}

func ptr[T any](v T) *T { return &v }

// wants fails unless err says each of words.
func wants(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}
