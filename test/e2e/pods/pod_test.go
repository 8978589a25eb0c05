package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/bycri"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

// pod is one that CRI has made, in the host's network.
type pod struct {
	t      *testing.T
	id     string
	config *cri.PodSandboxConfig
	last   int
}

// newPod runs a pod, which is removed at the end of the test.
func newPod(t *testing.T, handler string, edits ...func(*cri.PodSandboxConfig)) *pod {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	p := &pod{t: t, config: bycri.Config(name, "/"+filepath.Base(engine.Dir)+"/"+name, t.TempDir())}
	p.config.DnsConfig = &cri.DNSConfig{Servers: []string{"192.0.2.53"}, Searches: []string{"pods.local"}, Options: []string{"ndots:2"}}
	p.config.Linux.SecurityContext.NamespaceOptions.Pid = cri.NamespaceMode_CONTAINER
	for _, edit := range edits {
		edit(p.config)
	}
	made, err := pods.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: p.config, RuntimeHandler: handler})
	if err != nil {
		t.Fatal(err)
	}
	p.id = made.PodSandboxId
	t.Cleanup(p.remove)
	return p
}

// remove stops and removes the pod; it may be called again.
func (p *pod) remove() {
	p.t.Helper()
	if err := bycri.Remove(context.WithoutCancel(p.t.Context()), pods, p.id); err != nil {
		p.t.Error(err)
	}
}

// state is the pod's, as the kubelet sees it.
func (p *pod) state() cri.PodSandboxState {
	p.t.Helper()
	r, err := pods.PodSandboxStatus(p.t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Status.State
}

// run starts a container of an image.
func (p *pod) run(image string, args ...string) (id string) {
	p.t.Helper()
	p.last++
	name := fmt.Sprintf("c%d", p.last)
	made, err := pods.CreateContainer(p.t.Context(), &cri.CreateContainerRequest{
		PodSandboxId:  p.id,
		SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: name},
			Image:    &cri.ImageSpec{Image: image},
			Args:     args,
			LogPath:  name + ".log",
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: p.config.Linux.SecurityContext.NamespaceOptions,
			}},
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := pods.StartContainer(p.t.Context(), &cri.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		p.t.Fatal(err)
	}
	return made.ContainerId
}

func (p *pod) status(container string) *cri.ContainerStatus {
	p.t.Helper()
	r, err := pods.ContainerStatus(p.t.Context(), &cri.ContainerStatusRequest{ContainerId: container})
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Status
}

// output runs a container to its end, which shall be good, and returns what it
// has written.
func (p *pod) output(image string, args ...string) string {
	p.t.Helper()
	id := p.run(image, args...)
	eventually(p.t, "the container ends", func() bool { return p.status(id).State == cri.ContainerState_CONTAINER_EXITED })
	log, err := os.ReadFile(filepath.Join(p.config.LogDirectory, fmt.Sprintf("c%d.log", p.last)))
	if err != nil {
		p.t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(log)) { // TIME STREAM F TEXT
		if parts := strings.SplitN(line, " ", 4); len(parts) == 4 {
			text.WriteString(parts[3])
		}
	}
	if s := p.status(id); s.ExitCode != 0 {
		p.t.Fatalf("%s ends with %d (%s): %s", args, s.ExitCode, s.Reason, text.String())
	}
	return text.String()
}

// pid is that of a container's first process.
func (p *pod) pid(container string) int {
	p.t.Helper()
	r, err := pods.ContainerStatus(p.t.Context(), &cri.ContainerStatusRequest{ContainerId: container, Verbose: true})
	if err != nil {
		p.t.Fatal(err)
	}
	return infoPid(p.t, r.Info)
}

// ownPid is that of the process that holds the pod's namespaces.
func (p *pod) ownPid() int {
	p.t.Helper()
	r, err := pods.PodSandboxStatus(p.t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id, Verbose: true})
	if err != nil {
		p.t.Fatal(err)
	}
	return infoPid(p.t, r.Info)
}

func infoPid(t *testing.T, info map[string]string) int {
	t.Helper()
	var of struct{ Pid int }
	if err := json.Unmarshal([]byte(info["info"]), &of); err != nil || of.Pid == 0 {
		t.Fatalf("no pid in %v: %v", info, err)
	}
	return of.Pid
}

func namespaceOf(t *testing.T, pid int, kind string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// processes are those whose first argument ends in name.
func processes(t *testing.T, name string) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file)
		if first, _, _ := strings.Cut(string(line), "\x00"); first == name || strings.HasSuffix(first, "/"+name) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// leavesNothing looks, at the end of a test, for what its pods have left.
func leavesNothing(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var left []string
		deadline := time.Now().Add(10 * time.Second)
		for ; time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if left = leftovers(t); len(left) == 0 {
				return
			}
		}
		t.Errorf("left behind:\n\t%s", strings.Join(left, "\n\t"))
	})
}

func leftovers(t *testing.T) (left []string) {
	t.Helper()
	for _, name := range []string{"containerd-shim-wasm-v1", "wasm-sandbox", "wasm-pod", "native"} {
		for _, pid := range processes(t, name) {
			left = append(left, name+" "+pid)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], engine.Dir) {
			left = append(left, "mount "+fields[4])
		}
	}
	groups, err := isolate.Cgroups(filepath.Base(engine.Dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		// The pod's own is the kubelet's to remove, which is not here.
		if depth := strings.Count(group[strings.Index(group, filepath.Base(engine.Dir)):], "/"); depth > 1 {
			left = append(left, "cgroup "+group)
		}
	}
	bundles, err := filepath.Glob(filepath.Join(engine.State(), "io.containerd.runtime.v2.task/k8s.io/*"))
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := filepath.Glob("/run/containerd/s/*")
	if err != nil {
		t.Fatal(err)
	}
	return append(append(left, bundles...), sockets...)
}
