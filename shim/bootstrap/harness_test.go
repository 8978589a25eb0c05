package bootstrap

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	taskv3 "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
)

// newBundle makes a bundle as containerd does before `start`, its end of the log
// fifo open, and sees at the test's end that no daemon is left in it.
func newBundle(t *testing.T, id, config string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id)
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o711); err != nil {
		t.Fatal(err)
	}
	if config != "" {
		writeFile(t, filepath.Join(dir, "config.json"), config)
	}
	fifo := filepath.Join(dir, "log")
	if err := unix.Mkfifo(fifo, 0o700); err != nil {
		t.Fatal(err)
	}
	logs, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			buf := make([]byte, 64<<10)
			_ = logs.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			n, _ := logs.Read(buf)
			t.Logf("log of %s:\n%s", id, buf[:n])
		}
		logs.Close()
	})
	return dir
}

// readLog opens the log of a shim that is yet to start. It is read from then on,
// and newBundle no longer shows it.
func readLog(t *testing.T, dir string) *os.File {
	t.Helper()
	logs, err := os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logs.Close() })
	return logs
}

// waitLog reads a shim's log until one of its lines has all of these parts.
func waitLog(t *testing.T, logs *os.File, parts ...string) {
	t.Helper()
	if err := logs.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var text []byte
	for buf := make([]byte, 64<<10); ; {
		n, err := logs.Read(buf)
		text = append(text, buf[:n]...)
		for line := range strings.Lines(string(text)) {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return
			}
		}
		if err != nil {
			t.Fatalf("no line of the log has %q: %v\n%s", parts, err, text)
		}
	}
}

// startArgs is the command line of every daemon for container id.
func startArgs(id string) []string {
	return []string{"-namespace", "default", "-address", "/run/containerd/containerd.sock",
		"-publish-binary", "/usr/bin/containerd", "-id", id, "start"}
}

// startLegacy starts container id as containerd up to 2.2 does, and returns the
// shim's address.
func startLegacy(t *testing.T, dir, id string) string {
	t.Helper()
	stdout, stderr, err := runShim(t, dir, nil, nil, startArgs(id)...)
	if err != nil || stderr != "" {
		t.Fatalf("start: %v, stderr %q", err, stderr)
	}
	return strings.TrimSpace(stdout)
}

// dial connects to a shim; the connection ends with the test.
func dial(t *testing.T, address string) *ttrpc.Client {
	t.Helper()
	conn, err := net.Dial("unix", socketPath(address))
	if err != nil {
		t.Fatal(err)
	}
	client := ttrpc.NewClient(conn)
	t.Cleanup(func() { client.Close() })
	return client
}

func callContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// shimPid asks the shim at address, by both versions of the Task API, for its
// pid, and sees to it that the shim is gone at the test's end.
func shimPid(t *testing.T, address string) int {
	t.Helper()
	client := dial(t, address)
	v3, err := taskv3.NewTTRPCTaskClient(client).Connect(callContext(t), &taskv3.ConnectRequest{ID: "nobody"})
	if err != nil {
		t.Fatalf("Task v3 Connect: %v", err)
	}
	pid := int(v3.ShimPid)
	t.Cleanup(func() {
		if !gone(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	v2, err := taskv2.NewTTRPCTaskClient(client).Connect(callContext(t), &taskv2.ConnectRequest{ID: "nobody"})
	if err != nil {
		t.Fatalf("Task v2 Connect: %v", err)
	}
	if v2.ShimPid != v3.ShimPid {
		t.Errorf("shim pids %d and %d", v2.ShimPid, v3.ShimPid)
	}
	return pid
}

// shutDown asks the shim to end, as containerd does after a delete. The shim may
// be gone before its answer, which containerd takes for one.
func shutDown(t *testing.T, address string) {
	t.Helper()
	_, err := taskv3.NewTTRPCTaskClient(dial(t, address)).Shutdown(callContext(t), &taskv3.ShutdownRequest{ID: "c1"})
	if err != nil && !errors.Is(err, ttrpc.ErrClosed) {
		t.Fatalf("Shutdown: %v", err)
	}
}

// gone says whether a process, which may be nobody's child that reaps, has ended.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !gone(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func noFile(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", path, err)
	}
}

// sockets counts what is in the shims' directory.
func sockets(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(entries)
}

// processesIn returns the living processes whose working directory is dir.
func processesIn(t *testing.T, dir string) (pids []int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if cwd, err := os.Readlink(link); err != nil || cwd != dir {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil && !gone(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
