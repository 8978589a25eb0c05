package task

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestMain builds the sandbox program beside the test's own, where it is looked for.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == loggerArg {
		playLogger()
	}
	flag.Parse()
	if !testing.Verbose() {
		log.L.Logger.SetOutput(io.Discard)
	}
	self, err := os.Executable()
	if err == nil {
		build := exec.Command("go", "build", "-o", filepath.Join(filepath.Dir(self), "wasm-sandbox"), "../../cmd/wasm-sandbox")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building the sandbox program:", err)
		os.Exit(1)
	}
	// As the shim's library does.
	children := make(chan os.Signal, 32)
	signal.Notify(children, syscall.SIGCHLD)
	go func() {
		for range children {
			if err := reaper.Reap(); err != nil {
				fmt.Fprintln(os.Stderr, "reaping:", err)
			}
		}
	}()
	os.Exit(m.Run())
}

// real is a service whose processes and cgroups are true ones.
type real struct {
	*service
	t         *testing.T
	publisher *recorder
	cacheDir  string
}

func newReal(t *testing.T) *real {
	t.Helper()
	cacheDir := t.TempDir() // before the cleanup below, so as to outlive it
	_, sd := shutdown.WithShutdown(t.Context())
	publisher := &recorder{}
	made, err := New(namespaces.WithNamespace(t.Context(), "test"), "", options.Options{}, publisher, sd)
	if err != nil {
		t.Fatal(err)
	}
	r := &real{service: made.(*service), t: t, publisher: publisher, cacheDir: cacheDir}
	t.Cleanup(func() {
		for _, id := range r.ids() {
			r.Kill(context.Background(), &taskAPI.KillRequest{ID: id, Signal: 9, All: true}) //nolint:errcheck // it may have ended
			r.wait(id)
			r.remove(id)
		}
		sd.Shutdown()
		<-sd.Done()
	})
	return r
}

func (r *real) ids() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.containers {
		ids = append(ids, id)
	}
	return ids
}

// request asks for a container of a module.
func (r *real) request(id string, module []byte, edits ...func(*specs.Spec)) *taskAPI.CreateTaskRequest {
	r.t.Helper()
	// cgroups are the machine's: their names must be the test's own.
	path := fmt.Sprintf("/wasm-task-test-%d/%s", os.Getpid(), id)
	edits = append([]func(*specs.Spec){func(s *specs.Spec) {
		s.Linux.CgroupsPath = path
		s.Linux.Namespaces = []specs.LinuxNamespace{
			{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
			{Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace},
		}
	}}, edits...)
	bundle := newBundle(r.t, id, edits...)
	if err := os.WriteFile(bundle+"/rootfs/app.wasm", module, 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		parents, _ := filepath.Glob("/sys/fs/cgroup/*" + filepath.Dir(path))
		for _, parent := range append(parents, "/sys/fs/cgroup"+filepath.Dir(path)) {
			os.Remove(parent)
		}
	})
	// Compiled modules of tests do not go where the machine's are.
	options, err := typeurl.MarshalAnyToProto(&runtimeoptions.Options{ConfigBody: fmt.Appendf(nil, "CacheDir = %q", r.cacheDir)})
	if err != nil {
		r.t.Fatal(err)
	}
	return &taskAPI.CreateTaskRequest{ID: id, Bundle: bundle, Options: options}
}

func (r *real) create(request *taskAPI.CreateTaskRequest) int {
	r.t.Helper()
	made, err := r.Create(r.t.Context(), request)
	if err != nil {
		r.t.Fatal(err)
	}
	return int(made.Pid)
}

func (r *real) start(id string) {
	r.t.Helper()
	if _, err := r.Start(r.t.Context(), &taskAPI.StartRequest{ID: id}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *real) kill(id string, sig syscall.Signal) {
	r.t.Helper()
	if _, err := r.Kill(r.t.Context(), &taskAPI.KillRequest{ID: id, Signal: uint32(sig)}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *real) wait(id string) uint32 {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	exit, err := r.Wait(ctx, &taskAPI.WaitRequest{ID: id})
	if err != nil {
		r.t.Fatal(err)
	}
	return exit.ExitStatus
}

func (r *real) remove(id string) {
	r.t.Helper()
	if _, err := r.Delete(context.Background(), &taskAPI.DeleteRequest{ID: id}); err != nil {
		r.t.Fatal(err)
	}
}

func TestRealContainer(t *testing.T) {
	r := newReal(t)
	request := r.request("c", hello)
	request.Stdout = newFIFO(t, "out")
	output := reader(t, request.Stdout)
	pid := r.create(request)
	for _, namespace := range []string{"net", "pid", "mnt"} {
		own, _ := os.Readlink("/proc/self/ns/" + namespace)
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, namespace))
		if err != nil || own == theirs {
			t.Errorf("namespace %s of the blocked process: %q, %v", namespace, theirs, err)
		}
	}
	pids, err := r.Pids(t.Context(), &taskAPI.PidsRequest{ID: "c"})
	if err != nil || len(pids.Processes) != 1 || int(pids.Processes[0].Pid) != pid {
		t.Errorf("Pids answers %v, %v", pids, err)
	}
	r.start("c")
	if got := receive(t, output); got != "hello\n" {
		t.Errorf("the guest wrote %q", got)
	}
	if status := r.wait("c"); status != 3 {
		t.Errorf("exit status %d, want 3", status)
	}
	r.remove("c")
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Errorf("process %d is still there", pid)
	}
}

func TestRealSignals(t *testing.T) {
	r := newReal(t)
	for _, started := range []bool{false, true} {
		for sig, want := range map[syscall.Signal]uint32{syscall.SIGTERM: 143, syscall.SIGKILL: 137} {
			id := fmt.Sprintf("c-%v-%d", started, sig)
			r.create(r.request(id, spins))
			if started {
				r.start(id)
			}
			r.kill(id, sig)
			if status := r.wait(id); status != want {
				t.Errorf("started %v: exit status %d after %v, want %d", started, status, sig, want)
			}
			if _, err := r.Kill(t.Context(), &taskAPI.KillRequest{ID: id, Signal: 9}); !errdefs.IsNotFound(err) {
				t.Errorf("Kill of an ended container answers %v", err)
			}
		}
	}
}

func TestRealPause(t *testing.T) {
	r := newReal(t)
	pid := r.create(r.request("c", spins))
	r.start("c")
	if _, err := r.Pause(t.Context(), &taskAPI.PauseRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	before := ticks(t, pid)
	time.Sleep(100 * time.Millisecond)
	if after := ticks(t, pid); after != before {
		t.Errorf("the paused guest went on computing: %s ticks, then %s", before, after)
	}
	if _, err := r.Resume(t.Context(), &taskAPI.ResumeRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	for i := 0; ticks(t, pid) == before; i++ {
		if i == 1000 {
			t.Fatal("the resumed guest does not compute")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := r.Pause(t.Context(), &taskAPI.PauseRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	r.kill("c", syscall.SIGKILL)
	if status := r.wait("c"); status != 137 {
		t.Errorf("exit status %d, want 137", status)
	}
}

// ticks returns the user time of a process as /proc has it.
func ticks(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(fields)[11]
}

func TestRealStatsOutliveTheGuest(t *testing.T) {
	r := newReal(t)
	r.create(r.request("c", hello))
	stats := func() string {
		t.Helper()
		got, err := r.Stats(t.Context(), &taskAPI.StatsRequest{ID: "c"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := typeurl.UnmarshalAny(got.Stats); err != nil {
			t.Fatal(err)
		}
		return got.Stats.TypeUrl
	}
	known := []string{"io.containerd.cgroups.v1.Metrics", "io.containerd.cgroups.v2.Metrics"}
	if url := stats(); !slices.Contains(known, url) {
		t.Errorf("metrics of type %s", url)
	}
	r.start("c")
	r.wait("c")
	if url := stats(); !slices.Contains(known, url) {
		t.Errorf("metrics of type %s after the exit", url)
	}
}

func TestRealFailureLeavesNothing(t *testing.T) {
	r := newReal(t)
	request := r.request("c", []byte("no module at all"))
	_, err := r.Create(t.Context(), request)
	if err == nil || !strings.Contains(err.Error(), `container "c"`) || !strings.Contains(err.Error(), "/app.wasm") {
		t.Errorf("Create answers %v", err)
	}
	groups, globErr := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/wasm-task-test-%d/c", os.Getpid()))
	if globErr != nil || len(groups) > 0 {
		t.Errorf("cgroups %v, %v are left", groups, globErr)
	}
	threads, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		if children, err := os.ReadFile(thread); err == nil && len(children) > 0 {
			t.Errorf("children %s are left", children)
		}
	}
}

func TestRealContainersInNumbers(t *testing.T) {
	r := newReal(t)
	var all sync.WaitGroup
	for worker := range 4 {
		var requests []*taskAPI.CreateTaskRequest
		for i := range 5 {
			requests = append(requests, r.request(fmt.Sprintf("c%d-%d", worker, i), hello))
		}
		all.Go(func() {
			for _, request := range requests {
				if _, err := r.Create(t.Context(), request); err != nil {
					t.Error(err)
					continue
				}
				if _, err := r.Start(t.Context(), &taskAPI.StartRequest{ID: request.ID}); err != nil {
					t.Error(err)
				}
				exit, err := r.Wait(t.Context(), &taskAPI.WaitRequest{ID: request.ID})
				if err != nil || exit.ExitStatus != 3 {
					t.Errorf("%s: %v, %v", request.ID, exit, err)
				}
				if _, err := r.Delete(t.Context(), &taskAPI.DeleteRequest{ID: request.ID}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
