package rootless

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/docs"
)

const runtime = "io.containerd.wasm.v1"

// ctr runs ctr to its end and returns all that it says.
func ctr(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scaled(time.Minute))
	defer cancel()
	out, err := engine.Ctr(ctx, args...).CombinedOutput()
	return string(out), err
}

func mustCtr(t *testing.T, args ...string) string {
	t.Helper()
	out, err := ctr(t, args...)
	if err != nil {
		t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// run is `ctr run --rm` with these flags.
func run(t *testing.T, guest string, flags ...string) (output string, err error) {
	t.Helper()
	args := append([]string{"run", "--rm", "--runtime", runtime}, flags...)
	return ctr(t, append(args, imageName(guest), id(t))...)
}

// start has a container of a guest that computes until it is killed. It is removed
// with the test.
func start(t *testing.T, flags ...string) (pid int) {
	t.Helper()
	args := append([]string{"run", "--detach", "--runtime", runtime}, flags...)
	mustCtr(t, append(args, imageName("spin"), id(t))...)
	t.Cleanup(func() {
		_, _ = ctr(t, "task", "kill", "--signal", "SIGKILL", id(t)) // unless it has ended
		eventually(t, "the container can be removed", func() bool {
			_, err := ctr(t, "container", "rm", id(t))
			return err == nil
		})
	})
	pid, err := strconv.Atoi(task(t)[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func id(t *testing.T) string { return strings.ToLower(t.Name()) }

// task is the line of `ctr task ls` about the test's container: id, pid, status.
func task(t *testing.T) []string {
	t.Helper()
	list := mustCtr(t, "task", "ls")
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id(t) {
			return fields
		}
	}
	t.Fatalf("no task %s in\n%s", id(t), list)
	return nil
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(scaled(20 * time.Second)); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so in 20 s: %s", what)
		}
	}
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q wanted in %q", part, text)
		}
	}
}

func logged(t *testing.T, parts ...string) bool {
	t.Helper()
	data, err := os.ReadFile(engine.Log())
	if err != nil {
		t.Fatal(err)
	}
lines:
	for line := range strings.Lines(string(data)) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		return true
	}
	return false
}

func TestHello(t *testing.T) {
	for name, flags := range map[string][]string{
		"a network of its own": nil,
		// Users of a container within a user's namespace.
		"a user namespace within": {"--uidmap", "0:1000:100", "--gidmap", "0:1000:100"},
		"another user":            {"--user", "1000:1000"},
		"a read-only root":        {"--read-only"},
	} {
		out, err := run(t, "hello-c", flags...)
		if err != nil || out != "hello from c\n" {
			t.Errorf("%s: %v: %q", name, err, out)
		}
	}
}

// TestCompiledModules are kept where the user can write, as on one of the hosts.
func TestCompiledModules(t *testing.T) {
	if out, err := run(t, "hello-c"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	kept, err := filepath.Glob("/var/lib/containerd-shim-wasm-v1/*/*")
	if warned := logged(t, "level=warning", "container="+id(t), "compiled-module cache"); err != nil || warned == hasCgroup || hasCgroup && len(kept) == 0 {
		t.Errorf("kept: %v, %v; warned: %v", kept, err, warned)
	}
}

// TestHostNetwork shares containerd's network namespace, of which no user may mount
// a sysfs where it is the host's.
func TestHostNetwork(t *testing.T) {
	out, err := runSpec(t, without(specs.NetworkNamespace))
	if err != nil || !strings.HasSuffix(out, "hello from c\n") {
		t.Errorf("%v: %q", err, out)
	}
}

func TestLogFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	start(t, "--log-uri", "file://"+file)
	eventually(t, "the guest's output is in the file", func() bool {
		data, _ := os.ReadFile(file)
		return strings.Contains(string(data), "spinning")
	})
}

func TestExec(t *testing.T) {
	start(t)
	out := mustCtr(t, "task", "exec", "--exec-id", "e", id(t), "/hello-c.wasm")
	if out != "hello from c\n" {
		t.Errorf("exec says %q", out)
	}
	mustCtr(t, "task", "exec", "--detach", "--exec-id", "f", id(t), "/spin.wasm")
	if list := mustCtr(t, "task", "ps", id(t)); strings.Count(list, "\n") != 3 {
		t.Errorf("a heading and two processes wanted:\n%s", list)
	}
}

// TestKillAll ends all processes of a container, whoever knows them.
func TestKillAll(t *testing.T) {
	start(t)
	mustCtr(t, "task", "exec", "--detach", "--exec-id", "e", id(t), "/spin.wasm")
	mustCtr(t, "task", "kill", "--all", "--signal", "SIGKILL", id(t))
	eventually(t, "the task has ended", func() bool { return task(t)[2] == "STOPPED" })
	if guests := processes(t, "wasm-sandbox"); len(guests) > 0 {
		t.Errorf("processes %v are still there", guests)
	}
}

// TestExitEndsAll has the first process end, and so the others.
func TestExitEndsAll(t *testing.T) {
	start(t)
	mustCtr(t, "task", "exec", "--detach", "--exec-id", "e", id(t), "/spin.wasm")
	mustCtr(t, "task", "kill", "--signal", "SIGTERM", id(t))
	eventually(t, "the task has ended", func() bool { return task(t)[2] == "STOPPED" })
	if guests := processes(t, "wasm-sandbox"); len(guests) > 0 {
		t.Errorf("processes %v are still there", guests)
	}
}

func TestPause(t *testing.T) {
	start(t)
	out, err := ctr(t, "task", "pause", id(t))
	if !hasCgroup {
		if err == nil {
			t.Error("it was paused without a cgroup")
		}
		wants(t, out, "no control group", "Delegate=yes")
		return
	}
	if status := task(t)[2]; err != nil || status != "PAUSED" {
		t.Errorf("%v: %s; the task is %s", err, out, status)
	}
	mustCtr(t, "task", "resume", id(t))
}

func TestMetrics(t *testing.T) {
	start(t)
	out, err := ctr(t, "task", "metrics", id(t))
	if !hasCgroup {
		wants(t, out, "no metrics received")
		return
	}
	if err != nil {
		t.Error(err)
	}
	wants(t, out, "cpu.usage_usec")
}

// TestLog finds in the log what a container lacks that has no cgroup.
func TestLog(t *testing.T) {
	start(t)
	if logged(t, "level=warning", "container="+id(t), "no control group", "/rootless/"+id(t), "Delegate=yes") == hasCgroup {
		t.Error("the log is wrong about the lack of a cgroup")
	}
}

func TestMemoryLimit(t *testing.T) {
	limit := strconv.Itoa(64 << 20)
	if controller["memory"] {
		start(t, "--memory-limit", limit)
		wants(t, mustCtr(t, "task", "metrics", id(t)), limit)
		return
	}
	out, err := run(t, "spin", "--memory-limit", limit)
	if err == nil {
		t.Fatalf("the guest has no limit: %s", out)
	}
	if hasCgroup {
		wants(t, out, "linux.resources.memory.limit", "no memory controller", "delegate")
	} else {
		wants(t, out, "linux.resources.memory.limit", "cannot be made", "cgroup v2", "Delegate=yes", "RootlessKit")
	}
}

// TestManual runs the commands of docs/rootless.md, one after the other, on a host
// as they assume it.
func TestManual(t *testing.T) {
	script := docs.Commands(docs.Rootless)
	for reader, ours := range map[string]string{"IMAGE=docker.io/library/app:1\n": "IMAGE=" + imageName("spin") + "\n"} {
		if !strings.Contains(script, reader) {
			t.Fatalf("the manual's commands have no %q", reader)
		}
		script = strings.ReplaceAll(script, reader, ours)
	}
	program, err := engine.Program("ctr")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), scaled(time.Minute))
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eux", "-c", script)
	cmd.Env = append(os.Environ(),
		"PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"),
		"CONTAINERD_ADDRESS="+engine.Address(), "CONTAINERD_NAMESPACE="+engine.Namespace)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wants(t, string(out), "0     100000          1", "cpu.usage_usec", "PAUSED")
}

// TestShimKilled leaves nothing of a container whose shim is killed.
func TestShimKilled(t *testing.T) {
	pid := start(t)
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	shim, err := strconv.Atoi(strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the container's process has ended", func() bool { return len(processes(t, "wasm-sandbox")) == 0 })
	eventually(t, "containerd has seen to it", func() bool {
		list, _ := ctr(t, "task", "ls")
		return !strings.Contains(list, "RUNNING")
	})
	nothingLeft(t)
}

// TestZNothingLeft comes last.
func TestZNothingLeft(t *testing.T) { nothingLeft(t) }

// nothingLeft looks for what containers leave.
func nothingLeft(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{
		"/run/containerd/s/wasm-*",
		"/sys/fs/cgroup/rootless/*/",
		engine.State() + "/io.containerd.runtime.v2.task/*/*",
	} {
		eventually(t, "nothing is at "+pattern, func() bool {
			found, err := filepath.Glob(pattern)
			return err == nil && len(found) == 0
		})
	}
	eventually(t, "no shim and no sandbox runs", func() bool {
		return len(processes(t, "containerd-shim"))+len(processes(t, "wasm-sandbox")) == 0
	})
}

// processes lists those whose name begins with that and that have not ended.
func processes(t *testing.T, name string) (pids []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		data, _ := os.ReadFile(file) // it may end meanwhile
		stat := string(data)
		if strings.Contains(stat, "("+name) && !strings.Contains(stat, ") Z ") {
			pids = append(pids, stat)
		}
	}
	return pids
}
