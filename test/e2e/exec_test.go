package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// withTools starts a container that does nothing, and in which every guest is
// below /tools.
func withTools(t *testing.T, spec ...oci.SpecOpts) *box {
	t.Helper()
	guests, err := filepath.Abs(os.Getenv("E2E_GUESTS"))
	if err != nil {
		t.Fatal(err)
	}
	b := plan{guest: "sleep", args: []string{"600000"}, spec: append(spec, bind(guests, "/tools"))}.start(t)
	b.stdout.waitFor(t, "sleeping")
	return b
}

// ctrExec is `ctr task exec`.
func (b *box) ctrExec(t *testing.T, stdin string, flags []string, args ...string) result {
	t.Helper()
	return ctrWithStdin(t, strings.NewReader(stdin), b.ctrExecArgs(t, flags, args...)...)
}

func (b *box) ctrExecArgs(t *testing.T, flags []string, args ...string) []string {
	argv := append([]string{"task", "exec", "--exec-id", newID(t)}, flags...)
	return append(append(argv, b.ID()), args...)
}

func TestExec(t *testing.T) {
	leavesNothing(t)
	b := withTools(t)
	r := b.ctrExec(t, "", nil, "/tools/args.wasm", "one", "two words")
	r.wantCode(t, 0)
	r.wantStdout(t, "/tools/args.wasm\none\ntwo words\n")

	r = b.ctrExec(t, "through the process\n", nil, "/tools/cat.wasm")
	r.wantCode(t, 0)
	r.wantStdout(t, "through the process\n")

	b.ctrExec(t, "", nil, "/tools/exit.wasm", "42").wantCode(t, 42)
	b.ctrExec(t, "", nil, "/tools/trap.wasm", "unreachable").wantCode(t, 134)

	// A name without a path, in the directory given; a function of a module.
	r = b.ctrExec(t, "", []string{"--cwd", "/tools"}, "reactor.wasm#run")
	r.wantCode(t, 0)
	r.wantStdout(t, "run: initialised\n")

	if status := b.status(t); status != containerd.Running {
		t.Errorf("the container is %s", status)
	}
}

// TestExecUser writes as somebody else than the container's first process.
func TestExecUser(t *testing.T) {
	leavesNothing(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	b := withTools(t, bind(dir, "/data"))
	b.ctrExec(t, "", []string{"--user", "1234:5678"}, "/tools/files.wasm", "write", "/data/mine", "text").wantCode(t, 0)
	if uid, gid := owner(t, filepath.Join(dir, "mine")); uid != 1234 || gid != 5678 {
		t.Errorf("the file belongs to %d:%d, not to 1234:5678", uid, gid)
	}
}

// TestExecErrors tells what can be run where the arguments name nothing of that.
func TestExecErrors(t *testing.T) {
	leavesNothing(t)
	b := withTools(t)
	for name, args := range map[string][]string{
		"no such file":             {"sh", "-c", "true"},
		"is not a WebAssembly":     {"/tools/not-wasm.wasm"},
		"WebAssembly component":    {"/tools/component.wasm"},
		"exports no function":      {"/tools/reactor.wasm#nothing"},
		"is a directory":           {"/tools"},
		"no module; write path.wa": {"#run"},
	} {
		r := b.ctrExec(t, "", nil, args...)
		if r.code == 0 {
			t.Errorf("%v ran: %s", args, r)
		}
		file, _, _ := strings.Cut(args[0], "#")
		r.wantStderr(t, name, file, b.ID())
		if args[0] != "#run" {
			r.wantStderr(t, "exec runs a WebAssembly module of the container's root file system, such as /tool.wasm")
		}
	}
}

// TestExecIsWithinTheLimits has a further process ask for more memory than the
// container has. It gets none, and the container goes on.
func TestExecIsWithinTheLimits(t *testing.T) {
	leavesNothing(t)
	b := withTools(t, oci.WithMemoryLimit(memoryLimit))
	r := b.ctrExec(t, "", nil, "/tools/alloc.wasm", "512")
	r.wantCode(t, 1)
	if !strings.Contains(r.stdout, "allocation failed at") {
		t.Errorf("the guest shall see its allocation fail: %s", r)
	}
	if status := b.status(t); status != containerd.Running {
		t.Errorf("the container is %s", status)
	}
}

func TestExecEvents(t *testing.T) {
	leavesNothing(t)
	guests, err := filepath.Abs(os.Getenv("E2E_GUESTS"))
	if err != nil {
		t.Fatal(err)
	}
	id := newID(t)
	events := watch(t, id)
	b, err := plan{guest: "sleep", args: []string{"600000"}, spec: []oci.SpecOpts{bind(guests, "/tools")}}.createWith(t, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.ctrExec(t, "", nil, "/tools/exit.wasm", "0").wantCode(t, 0)
	b.kill(t, syscall.SIGKILL)
	b.waitCode(t, 137)
	if err := b.remove(); err != nil {
		t.Fatal(err)
	}
	events.waitFor(t, "/tasks/delete")
	want := []string{"/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started", "/tasks/exit", "/tasks/exit", "/tasks/delete"}
	if got := events.ofTask(); !slices.Equal(got, want) {
		t.Errorf("events %q, not %q", got, want)
	}
}

// TestExecInAPausedContainer is refused, and what runs already stands still.
func TestExecInAPausedContainer(t *testing.T) {
	leavesNothing(t)
	b := withTools(t)
	spinning := b.spawn(t, "spinning", nil, "/tools/spin.wasm").start(t)
	spinning.stdout.waitFor(t, "spinning")
	mustCtr(t, "task", "pause", b.ID())
	r := b.ctrExec(t, "", nil, "/tools/exit.wasm", "0")
	if r.code == 0 {
		t.Errorf("it ran: %s", r)
	}
	r.wantStderr(t, "is paused")
	before := b.usage(t).cpu
	if after := b.usage(t).cpu; after != before {
		t.Errorf("the paused container used the processor for %v", after-before)
	}
	mustCtr(t, "task", "resume", b.ID())
	b.ctrExec(t, "", nil, "/tools/exit.wasm", "0").wantCode(t, 0)
	if shown := mustCtr(t, "task", "ps", b.ID()); !strings.Contains(shown, "spinning") {
		t.Errorf("ctr task ps does not name the process:\n%s", shown)
	}
	if _, err := spinning.Delete(namespaced(t.Context()), containerd.WithProcessKill); err != nil {
		t.Error(err)
	}
}

// TestExecMany runs further processes of one container, several at a time.
func TestExecMany(t *testing.T) {
	leavesNothing(t)
	b := withTools(t)
	total := 60
	if emulated {
		total = 12
	}
	done := make(chan result)
	for range 6 {
		go func() {
			for range total / 6 {
				done <- b.ctrExec(t, "", nil, "/tools/hello-c.wasm")
			}
		}()
	}
	for range total {
		if r := <-done; r.code != 0 || r.stdout != "hello from c\n" {
			t.Errorf("one failed: %s", r)
		}
	}
}
