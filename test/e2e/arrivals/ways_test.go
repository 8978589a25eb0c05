package arrivals

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/bycri"
)

const (
	wasmRuntime = "io.containerd.wasm.v1"
	pauseImage  = "test.local/pause:1"
)

// help is what a user adds where the plain way does not run an image.
type help int

const (
	none     help = iota
	platform      // ctr's --platform
	command       // a program's name for the container
)

// refusal is a step that failed, and all that was said.
type refusal struct{ step, says string }

// A way is a column of the table: it brings an image to a containerd and runs it.
type way struct {
	name  string
	helps []help
	// run returns what the container wrote, or which step was refused.
	run func(t *testing.T, s source, with help) (output string, r *refusal)
}

// byCtr is a way of ctr's, of which get is the first step. It has a containerd
// namespace of its own, so that no image is there before it comes.
func (h *host) byCtr(get string, getArgs func(s source) []string) way {
	return way{
		name:  "`ctr image " + get + "`",
		helps: []help{platform, command},
		run: func(t *testing.T, s source, with help) (string, *refusal) {
			h.runs++
			namespace := fmt.Sprintf("%s-%d", filepath.Base(dir), h.runs)
			first, run := []string{"image", get}, []string{"run", "--rm", "--runtime", wasmRuntime, "--cgroup", h.cgroup()}
			if with == platform {
				// Without --local, ctr 2 does not unpack for another platform.
				first, run = append(first, "--local", "--platform", s.platform), append(run, "--platform", s.platform)
			}
			if out, err := h.ctr(t, namespace, append(first, getArgs(s)...)...); err != nil {
				return "", &refusal{"`ctr image " + get + "`", out}
			}
			run = append(run, s.name, "c")
			if with == command {
				run = append(run, "app.wasm")
			}
			out, err := h.ctr(t, namespace, run...)
			if err != nil {
				return "", &refusal{"`ctr run`", out}
			}
			return out, nil
		},
	}
}

// cgroup is the control group of the run at hand, below the one that is removed
// with the test's folder.
func (h *host) cgroup() string {
	return fmt.Sprintf("/%s/%s-%d", filepath.Base(dir), filepath.Base(h.Dir), h.runs)
}

func (h *host) pullAndImport() []way {
	return []way{
		h.byCtr("pull", func(s source) []string { return []string{"--plain-http", s.name} }),
		h.byCtr("import", func(s source) []string { return []string{s.archive} }),
	}
}

// pod is one of CRI's.
type pod struct {
	*bycri.Pod
	runs int
}

// newPod makes a pod whose own container is Wasm.
func (h *host) newPod(t *testing.T) *pod {
	t.Helper()
	config := bycri.Config(filepath.Base(h.Dir), "/"+filepath.Base(dir), t.TempDir())
	return &pod{Pod: bycri.New(t, h.Daemon, pauseImage, guest("sleep"), config)}
}

// byCRI does what the kubelet does for a container of a pod.
func (p *pod) byCRI() way {
	return way{name: "CRI", helps: []help{command}, run: func(t *testing.T, s source, with help) (string, *refusal) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		pulled, err := p.Images.PullImage(ctx, &cri.PullImageRequest{
			Image:         &cri.ImageSpec{Image: s.name, UserSpecifiedImage: s.name},
			SandboxConfig: p.Config,
		})
		if err != nil {
			return "", &refusal{"`PullImage`", err.Error()}
		}
		p.runs++
		log := fmt.Sprintf("%d.log", p.runs)
		config := &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: fmt.Sprintf("c%d", p.runs)},
			Image:    &cri.ImageSpec{Image: pulled.ImageRef, UserSpecifiedImage: s.name},
			LogPath:  log,
			Linux:    &cri.LinuxContainerConfig{},
		}
		if with == command {
			config.Command = []string{"app.wasm"}
		}
		made, err := p.Runtime.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.ID, SandboxConfig: p.Config, Config: config})
		if err != nil {
			return "", &refusal{"`CreateContainer`", err.Error()}
		}
		if _, err := p.Runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
			return "", &refusal{"`StartContainer`", err.Error()}
		}
		bycri.Until(t, "the container ends", func() bool {
			r, err := p.Runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: made.ContainerId})
			if err != nil {
				t.Fatal(err)
			}
			return r.Status.State == cri.ContainerState_CONTAINER_EXITED
		})
		return p.log(t, log), nil
	}}
}

// log is what a container wrote, out of lines with a time, the stream and F for
// full.
func (p *pod) log(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.Config.LogDirectory, name))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(data)) {
		if _, written, ok := strings.Cut(line, " stdout F "); ok {
			text.WriteString(written)
			continue
		}
		text.WriteString(line)
	}
	return text.String()
}
