package pods

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestPod looks at what the containers of a pod share.
func TestPod(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, handler := range []string{withPause, withoutPause} {
		t.Run(handler, func(t *testing.T) {
			leavesNothing(t)
			p := newPod(t, handler)
			if n := len(processes(t, "containerd-shim-wasm-v1")); n != 1 {
				t.Errorf("%d shims for one pod", n)
			}
			pauses, holders := len(processes(t, "native")), len(processes(t, "wasm-pod"))
			if want := handler == withPause; (pauses == 1) != want || (holders == 1) == want {
				t.Errorf("%d pause containers, %d processes of ours", pauses, holders)
			}
			if got := p.output(nativeImage, "hello"); got != "hello from native\n" {
				t.Errorf("a Linux container writes %q", got)
			}
			p.output(guestImage("files"), "write", "/dev/shm/note", "shared")
			if got := p.output(guestImage("files"), "read", "/dev/shm/note"); strings.TrimSpace(got) != "shared" {
				t.Errorf("of another container's /dev/shm comes %q", got)
			}
			for file, want := range map[string]string{
				"/etc/hostname":    host,
				"/etc/resolv.conf": "search pods.local\nnameserver 192.0.2.53\noptions ndots:2",
			} {
				if got := p.output(guestImage("files"), "read", file); strings.TrimSpace(got) != want {
					t.Errorf("%s is %q", file, got)
				}
			}
			if got := p.output(guestImage("files"), "stat", "/etc/hosts"); !strings.HasPrefix(got, "file ") {
				t.Errorf("/etc/hosts is %q", got)
			}

			module, sidecar := p.run(guestImage("sleep"), "600000"), p.run(nativeImage, "pause")
			ipc := namespaceOf(t, p.ownPid(), "ipc")
			for name, id := range map[string]string{"module": module, "sidecar": sidecar} {
				if got := namespaceOf(t, p.pid(id), "ipc"); got != ipc || got == namespaceOf(t, os.Getpid(), "ipc") {
					t.Errorf("the %s is in %s, the pod in %s", name, got, ipc)
				}
			}
			stats, err := pods.PodSandboxStats(t.Context(), &cri.PodSandboxStatsRequest{PodSandboxId: p.id})
			if err != nil {
				t.Fatal(err)
			}
			if memory := stats.Stats.Linux.Memory.GetWorkingSetBytes().GetValue(); memory == 0 {
				t.Errorf("metrics %v", stats.Stats.Linux)
			}
		})
	}
}

// TestSharedProcesses has the containers of a pod in one pid namespace.
func TestSharedProcesses(t *testing.T) {
	leavesNothing(t)
	p := newPod(t, withoutPause, func(c *cri.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Pid = cri.NamespaceMode_POD
	})
	module, sidecar := p.run(guestImage("sleep"), "600000"), p.run(nativeImage, "pause")
	want := namespaceOf(t, p.ownPid(), "pid")
	for name, id := range map[string]string{"module": module, "sidecar": sidecar} {
		if got := namespaceOf(t, p.pid(id), "pid"); got != want {
			t.Errorf("the %s is in %s, the pod in %s", name, got, want)
		}
	}
	if _, err := pods.StopContainer(t.Context(), &cri.StopContainerRequest{ContainerId: module, Timeout: 10}); err != nil {
		t.Fatal(err)
	}
	if s := p.status(module); s.ExitCode != 143 {
		t.Errorf("the module ends with %d", s.ExitCode)
	}
}

// TestPodIsSmall looks at what a pod without a pause container costs.
func TestPodIsSmall(t *testing.T) {
	leavesNothing(t)
	p := newPod(t, withoutPause)
	p.run(guestImage("sleep"), "600000")
	const most = 2 << 10
	var size int
	eventually(t, fmt.Sprintf("the pod's own process has less than %d KiB", most), func() bool {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.ownPid()))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "\nPss:")
		_, err = fmt.Sscanf(rest, "%d kB", &size)
		return err == nil && size < most
	})
	t.Logf("%d KiB", size)
}

// TestContainerdRestarts finds pods again.
func TestContainerdRestarts(t *testing.T) {
	leavesNothing(t)
	kinds := map[string]*pod{}
	modules := map[string]string{}
	for _, handler := range []string{withPause, withoutPause} {
		p := newPod(t, handler, func(c *cri.PodSandboxConfig) { c.Metadata.Name, c.Metadata.Uid = handler, handler })
		kinds[handler], modules[handler] = p, p.run(guestImage("sleep"), "600000")
	}
	if err := engine.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := start(engine.Dir, engine.Path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "CRI answers", func() bool {
		_, err := pods.Version(t.Context(), &cri.VersionRequest{})
		return err == nil
	})
	for handler, p := range kinds {
		if s := p.state(); s != cri.PodSandboxState_SANDBOX_READY {
			t.Errorf("the pod of %s is %s", handler, s)
		}
		if s := p.status(modules[handler]); s.State != cri.ContainerState_CONTAINER_RUNNING {
			t.Errorf("the container of %s is %s", handler, s.State)
		}
		if got := p.output(nativeImage, "hello"); got != "hello from native\n" {
			t.Errorf("a new container writes %q", got)
		}
	}
}

// TestShimDies has CRI see the end of a pod whose shim is gone, and remove it.
func TestShimDies(t *testing.T) {
	for _, handler := range []string{withPause, withoutPause} {
		t.Run(handler, func(t *testing.T) {
			leavesNothing(t)
			p := newPod(t, handler)
			module := p.run(guestImage("sleep"), "600000")
			shims := processes(t, "containerd-shim-wasm-v1")
			if len(shims) != 1 {
				t.Fatalf("shims %v", shims)
			}
			pid, err := strconv.Atoi(shims[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			// For a moment containerd still asks the shim.
			eventually(t, "the pod is not ready", func() bool {
				r, err := pods.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
				return err == nil && r.Status.State == cri.PodSandboxState_SANDBOX_NOTREADY
			})
			eventually(t, "the container has ended", func() bool { return p.status(module).State == cri.ContainerState_CONTAINER_EXITED })
		})
	}
}

// TestHolderDies has CRI see the end of a pod whose own process is gone.
func TestHolderDies(t *testing.T) {
	leavesNothing(t)
	p := newPod(t, withoutPause)
	module := p.run(guestImage("sleep"), "600000")
	if err := syscall.Kill(p.ownPid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod is not ready", func() bool { return p.state() == cri.PodSandboxState_SANDBOX_NOTREADY })
	if s := p.status(module); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %s", s.State)
	}
}

// TestRefusedPod reads why a pod could not be made.
func TestRefusedPod(t *testing.T) {
	leavesNothing(t)
	began := time.Now()
	_, err := pods.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{RuntimeHandler: withoutPause, Config: &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: "refused", Namespace: "default", Uid: "refused"},
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    "/" + filepath.Base(engine.Dir) + "/refused",
			Sysctls:         map[string]string{"kernel.panic": "1"},
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE}},
		},
	}})
	if err == nil {
		t.Fatal("it was not refused")
	}
	for _, part := range []string{"kernel.panic", "set it on the host"} {
		if !strings.Contains(err.Error(), part) {
			err = errors.Join(err, fmt.Errorf("%q is not said", part))
			t.Error(err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}
