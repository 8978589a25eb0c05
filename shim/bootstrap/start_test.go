package bootstrap

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

func TestStartLegacyToShutdown(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	stdout, stderr, err := runShim(t, dir, nil, optionsInput(t, "SystemdCgroup = false"), startArgs("c1")...)
	if err != nil || stderr != "" {
		t.Fatalf("start: %v, stderr %q", err, stderr)
	}
	if !strings.HasPrefix(stdout, "unix:///run/containerd/s/") {
		t.Fatalf("answer %q", stdout)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, addressFile)); err != nil || string(kept) != stdout {
		t.Errorf("address file %q, %v; the answer was %q", kept, err, stdout)
	}
	pid := shimPid(t, stdout)
	if group, err := unix.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d of shim %d, %v", group, pid, err)
	}
	if cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd"); err != nil || cwd != dir {
		t.Errorf("working directory %s, %v", cwd, err)
	}
	shutDown(t, stdout)
	noFile(t, socketPath(stdout)) // before the answer to Shutdown, even
	waitGone(t, pid)
	noFile(t, filepath.Join(dir, addressFile))
	if n := sockets(t, defaultSocketDir()); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

func TestStartByBootstrapProtocol(t *testing.T) {
	dir, place := newBundle(t, "c1", `{}`), socketDir(t)
	stdout, stderr, err := runShim(t, dir, nil, paramsInput(t, &bootapi.BootstrapParams{
		InstanceID:            "c1",
		Namespace:             "default",
		ContainerdGrpcAddress: "/run/containerd/containerd.sock",
		SocketDir:             &place,
	}, ""), startArgs("c1")...)
	if err != nil || stderr != "" {
		t.Fatalf("start: %v, stderr %q", err, stderr)
	}
	var result bootapi.BootstrapResult
	if err := proto.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatal(err)
	}
	if result.Version != 3 || result.Protocol != "ttrpc" || filepath.Dir(socketPath(result.Address)) != place {
		t.Errorf("answer %v", &result)
	}
	pid := shimPid(t, result.Address)
	shutDown(t, result.Address)
	waitGone(t, pid)
	if n := sockets(t, place); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

func TestSignalEndsTheDaemon(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	address := startLegacy(t, dir, "c1")
	pid := shimPid(t, address)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	noFile(t, socketPath(address))
	noFile(t, filepath.Join(dir, addressFile))
}

// SIGUSR1 writes what every goroutine does to the log and ends nothing.
func TestStackDump(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	logs := readLog(t, dir)
	address := startLegacy(t, dir, "c1")
	pid := shimPid(t, address)
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	waitLog(t, logs, "goroutine stack dump", "goroutine 1 ", "shim.RunShim")
	if again := shimPid(t, address); again != pid {
		t.Errorf("shim %d is gone, %d answers", pid, again)
	}
	shutDown(t, address)
	waitGone(t, pid)
}

func TestDaemonIsEndedBeforeContainerdByTheKernel(t *testing.T) {
	score := func(pid string) int {
		data, err := os.ReadFile("/proc/" + pid + "/oom_score_adj")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	address := startLegacy(t, newBundle(t, "c1", `{}`), "c1")
	pid := shimPid(t, address)
	if got, want := score(strconv.Itoa(pid)), min(score("self")+1, 1000); got != want {
		t.Errorf("oom_score_adj %d, want %d", got, want)
	}
	shutDown(t, address)
	waitGone(t, pid)
}

// Containers of a pod that start at once get one shim between them.
func TestPodHasOneShim(t *testing.T) {
	const pod = `{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}`
	ids := []string{"pod", "c1", "c2", "c3", "c4", "c5"}
	addresses := make([]string, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		dir := newBundle(t, id, pod)
		wg.Go(func() {
			stdout, stderr, err := runShim(t, dir, nil, nil, startArgs(id)...)
			if err != nil || stderr != "" {
				t.Errorf("start of %s: %v, stderr %q", id, err, stderr)
			}
			addresses[i] = stdout
			if kept, err := os.ReadFile(filepath.Join(dir, addressFile)); err != nil || string(kept) != stdout {
				t.Errorf("address file of %s: %q, %v", id, kept, err)
			}
		})
	}
	wg.Wait()
	for i, id := range ids {
		if addresses[i] != addresses[0] {
			t.Errorf("%s has the shim at %s, the pod the one at %s", id, addresses[i], addresses[0])
		}
	}
	pid := shimPid(t, addresses[0])
	alone := startLegacy(t, newBundle(t, "other", `{}`), "other")
	if other := shimPid(t, alone); other == pid {
		t.Errorf("a container of no pod is in the pod's shim")
	} else {
		shutDown(t, alone)
		waitGone(t, other)
	}
	shutDown(t, addresses[0])
	waitGone(t, pid)
}

// A container may be started again as soon as its shim has taken leave, which is
// while the shim still runs.
func TestStartRightAfterShutdown(t *testing.T) {
	last := 0
	for range 20 {
		address := startLegacy(t, newBundle(t, "c1", `{}`), "c1")
		pid := shimPid(t, address)
		if pid == last {
			t.Fatalf("the shim %d, which was about to go, was answered", pid)
		}
		shutDown(t, address)
		last = pid
	}
	waitGone(t, last)
	if n := sockets(t, defaultSocketDir()); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

func TestStartReplacesAKilledShim(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	address := startLegacy(t, dir, "c1")
	first := shimPid(t, address)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, first)
	if again := startLegacy(t, dir, "c1"); again != address {
		t.Errorf("address %s, then %s", address, again)
	}
	second := shimPid(t, address)
	if second == first {
		t.Error("the killed shim answers")
	}
	shutDown(t, address)
	waitGone(t, second)
}

func TestFailedStartLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		stdin  []byte
		config string
		want   string
	}{
		"options":    {optionsInput(t, "Colour = 'red'"), `{}`, "unknown key Colour"},
		"config":     {nil, `[`, "config.json"},
		"ShimCgroup": {optionsInput(t, "ShimCgroup = '/no-such-group'"), `{}`, "/no-such-group"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newBundle(t, "c1", c.config)
			stdout, stderr, err := runShim(t, dir, nil, c.stdin, startArgs("c1")...)
			if err == nil || stdout != "" {
				t.Fatalf("started: %q", stdout)
			}
			if !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("stderr %q, want one line with %q", stderr, c.want)
			}
			if n := sockets(t, defaultSocketDir()); n != 0 {
				t.Errorf("%d sockets are left", n)
			}
			if pids := processesIn(t, dir); len(pids) != 0 {
				t.Errorf("processes %v are left", pids)
			}
		})
	}
}

// What keeps the daemon from serving is an error of `start`.
func TestDaemonThatCannotServe(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	if err := os.Remove(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := runShim(t, dir, nil, nil, startArgs("c1")...)
	if err == nil || stdout != "" {
		t.Fatalf("started: %q", stdout)
	}
	for _, want := range []string{"container c1", "log", "no such file"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in %q", want, stderr)
		}
	}
	if n := sockets(t, defaultSocketDir()); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
	if pids := processesIn(t, dir); len(pids) != 0 {
		t.Errorf("processes %v are left", pids)
	}
}

// containerd removes the bundle, and says nothing, where it cannot take up the
// shim that it has started.
func TestAbandonedDaemonEnds(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	address := startLegacy(t, dir, "c1")
	pid := shimPid(t, address)
	time.Sleep(2 * bundleInterval) // it has looked, and found the bundle
	if gone(pid) {
		t.Fatal("the shim ended although its bundle is there")
	}
	hidden := filepath.Join(filepath.Dir(dir), ".c1")
	if err := os.Rename(dir, hidden); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(hidden); err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
	noFile(t, socketPath(address))
}

func TestShimCgroup(t *testing.T) {
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/freezer"); err == nil {
		root += "/freezer" // cgroup v1
	}
	name := "shim-cgroup-test-" + strconv.Itoa(os.Getpid())
	group := filepath.Join(root, name)
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := os.Remove(group)
		// The group is busy until the shim has been reaped, by whomever.
		for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); err = os.Remove(group) {
			time.Sleep(5 * time.Millisecond)
		}
		if err != nil {
			t.Error(err)
		}
	})
	dir := newBundle(t, "c1", `{}`)
	address, stderr, err := runShim(t, dir, nil, optionsInput(t, "ShimCgroup = '"+name+"'"), startArgs("c1")...)
	if err != nil {
		t.Fatalf("start: %v, stderr %q", err, stderr)
	}
	pid := shimPid(t, address)
	procs, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if err != nil || strings.TrimSpace(string(procs)) != strconv.Itoa(pid) {
		t.Errorf("the group holds %q, the shim is %d; %v", procs, pid, err)
	}
	shutDown(t, address)
	waitGone(t, pid)
}

// With core scheduling asked for, the shim has a domain of its own or `start`
// says that the kernel has none to give.
func TestCoreScheduling(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	stdout, stderr, err := runShim(t, dir, []string{schedCoreVariable + "=1"}, nil, startArgs("c1")...)
	if err != nil {
		if !strings.Contains(stderr, schedCoreVariable) {
			t.Errorf("stderr %q", stderr)
		}
		if n := sockets(t, defaultSocketDir()); n != 0 {
			t.Errorf("%d sockets are left", n)
		}
		return
	}
	pid := shimPid(t, stdout)
	var cookie uint64
	if err := schedCookie(pid, &cookie); err != nil || cookie == 0 {
		t.Errorf("scheduling cookie %d, %v", cookie, err)
	}
	shutDown(t, stdout)
	waitGone(t, pid)
}

// The daemon of a `start` that was killed ends by itself, also where its bundle
// and the reader of its log are gone.
func TestKilledStartLeavesNothing(t *testing.T) {
	for _, bundleGoes := range []bool{false, true} {
		t.Run("bundle goes="+strconv.FormatBool(bundleGoes), func(t *testing.T) {
			dir := newBundle(t, "c1", `{}`)
			log := filepath.Join(dir, "log")
			// A FIFO that nobody reads holds the daemon up until `start` is dead.
			if err := os.Rename(log, log+"-of-the-test"); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mkfifo(log, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(shimBinary, startArgs("c1")...)
			cmd.Dir = dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			var both []int
			for deadline := time.Now().Add(20 * time.Second); len(both) < 2; both = processesIn(t, dir) {
				if time.Now().After(deadline) {
					t.Fatal("the daemon does not come")
				}
				time.Sleep(time.Millisecond)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if bundleGoes {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			for _, pid := range both {
				waitGone(t, pid)
			}
			if n := sockets(t, defaultSocketDir()); n != 0 {
				t.Errorf("%d sockets are left", n)
			}
		})
	}
}
