package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestLinuxContainer runs a Linux program under this runtime and under runc's,
// and wants the same of both.
func TestLinuxContainer(t *testing.T) {
	for _, c := range []struct {
		name, stdin string
		flags, args []string
	}{
		{name: "output", args: []string{"/native", "hello"}},
		{name: "input", stdin: strings.Repeat("to and fro\n", 50_000), args: []string{"/native", "cat"}},
		{name: "exit code", args: []string{"/native", "exit", "42"}},
		{name: "looked up on PATH", flags: []string{"--env", "PATH=/bin:/"}, args: []string{"native", "hello"}},
		{name: "in a volume", flags: []string{"--mount", "type=bind,src=" + filepath.Dir(program(t, "native")) + ",dst=/tools,options=rbind:ro"}, args: []string{"/tools/native", "hello"}},
		{name: "not there", args: []string{"/bin/nothing"}},
		{name: "read-only", flags: []string{"--read-only"}, args: []string{"/native", "log", "/file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			under := func(runtime string) (result, *watcher) {
				id := newID(t)
				events := watch(t, id)
				argv := append([]string{"run", "--rm", "--runtime", runtime}, c.flags...)
				argv = append(append(argv, imageName("native"), id), c.args...)
				r := ctrWithStdin(t, strings.NewReader(c.stdin), argv...)
				r.stderr = strings.ReplaceAll(r.stderr, id, "ID")
				return r, events
			}
			want, _ := under(runcRuntime) // whose shim loses events at its end
			got, events := under(wasmRuntime)
			if got != want {
				t.Errorf("%s\nunder runc's shim: %s", got, want)
			}
			if topics := events.ofTask(); len(topics) > 0 {
				for _, topic := range []string{"/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"} {
					events.waitFor(t, topic)
				}
			}
		})
	}
}

// program finds a program of the tests.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := engine.Program(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// pause starts the container that holds a pod's namespaces.
func pause(t *testing.T, pod string) *box {
	t.Helper()
	b := plan{guest: "native", args: []string{"pause"}, spec: []oci.SpecOpts{
		inPod(pod), oci.WithAnnotations(map[string]string{"io.kubernetes.cri.container-type": "sandbox"}),
		oci.WithHostname("the-pod"),
	}}.start(t)
	b.stdout.waitFor(t, "pausing")
	return b
}

// joining has a container join the namespaces of a pod's pause container.
func joining(pause *box) oci.SpecOpts {
	var all []oci.SpecOpts
	for kind, file := range map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts"} {
		path := fmt.Sprintf("/proc/%d/ns/%s", pause.task.Pid(), file)
		all = append(all, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: kind, Path: path}))
	}
	return oci.Compose(all...)
}

// TestMixedPod has Linux and Wasm containers in one shim.
func TestMixedPod(t *testing.T) {
	leavesNothing(t)
	first := pause(t, "mixed")
	module := plan{guest: "sleep", args: []string{"600000"}, spec: []oci.SpecOpts{inPod("mixed"), joining(first)}}.start(t)
	module.stdout.waitFor(t, "sleeping")
	sidecar := plan{guest: "native", args: []string{"pause"}, spec: []oci.SpecOpts{inPod("mixed"), joining(first)}}.start(t)
	sidecar.stdout.waitFor(t, "pausing")

	if n := running(t, shimProgram); n != 1 {
		t.Errorf("%d shims for one pod", n)
	}
	for _, kind := range []string{"net", "ipc", "uts"} {
		want := namespaceOf(t, first, kind)
		for name, b := range map[string]*box{"module": module, "sidecar": sidecar} {
			if got := namespaceOf(t, b, kind); got != want {
				t.Errorf("the %s is in %s, the pod in %s", name, got, want)
			}
		}
	}

	t.Run("exec", func(t *testing.T) {
		r := sidecar.ctrExec(t, "", nil, "/native", "hello")
		r.wantCode(t, 0)
		r.wantStdout(t, "hello from native\n")
		sidecar.ctrExec(t, "", nil, "/native", "exit", "7").wantCode(t, 7)
	})
	t.Run("pause and measure", func(t *testing.T) {
		ctx := namespaced(t.Context())
		if err := sidecar.task.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		if got := sidecar.status(t); got != containerd.Paused {
			t.Errorf("it is %s", got)
		}
		if got := module.status(t); got != containerd.Running {
			t.Errorf("the module is %s", got)
		}
		if err := sidecar.task.Resume(ctx); err != nil {
			t.Fatal(err)
		}
		if u := sidecar.usage(t); u.pids == 0 || u.memory == 0 {
			t.Errorf("metrics %+v", u)
		}
	})
	t.Run("ends", func(t *testing.T) {
		sidecar.kill(t, syscall.SIGTERM)
		sidecar.waitCode(t, 0)
		if err := sidecar.remove(); err != nil {
			t.Fatal(err)
		}
		if got := module.status(t); got != containerd.Running {
			t.Errorf("the module is %s after the sidecar's end", got)
		}
		module.kill(t, syscall.SIGTERM)
		module.waitCode(t, 143)
		if err := module.remove(); err != nil {
			t.Fatal(err)
		}
		first.kill(t, syscall.SIGTERM)
		first.waitCode(t, 0)
	})
}

func namespaceOf(t *testing.T, b *box, kind string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", b.task.Pid(), kind))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// TestShimOfLinuxContainersDies kills a shim whose containers are of both kinds.
func TestShimOfLinuxContainersDies(t *testing.T) {
	leavesNothing(t)
	exits := watchExits(t, client)
	first := pause(t, "doomed")
	module := plan{guest: "sleep", args: []string{"600000"}, spec: []oci.SpecOpts{inPod("doomed"), joining(first)}}.start(t)
	module.stdout.waitFor(t, "sleeping")
	if err := syscall.Kill(parent(t, int(module.task.Pid())), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantGone(t, first, exits, 137)
	wantGone(t, module, exits, 137)
	eventually(t, "the processes end", func() bool {
		return running(t, sandboxProgram) == 0 && running(t, "native") == 0
	})
}

// TestWasmOnly has the administrator refuse Linux containers.
func TestWasmOnly(t *testing.T) {
	leavesNothing(t)
	_, err := plan{guest: "native", args: []string{"hello"}, options: map[string]any{"WasmOnly": true}}.tryCreate(t)
	if err == nil || !strings.Contains(err.Error(), `"/native" is a Linux program`) || !strings.Contains(err.Error(), "WasmOnly") {
		t.Errorf("creation answers %v", err)
	}
}
