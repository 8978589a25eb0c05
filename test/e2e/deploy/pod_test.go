package deploy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/bycri"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

const (
	pauseImage = "test.local/pause:1"
	helloImage = "test.local/hello:1"
	// hello is what the guest writes.
	hello = "hello from c\n"
)

// TestPods has pods refused before, run after and refused again after the
// runtime has been uninstalled.
func TestPods(t *testing.T) {
	for _, c := range []struct{ name, release, config string }{
		{"1.7, block", "1.7", "version = 2\n" + criV2 + runtimesV2},
		{"2, drop-in", "2", "version = 3\n" + importV + criV3},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, release(t, c.release), map[string]string{main: c.config})
			n.importImages(t)
			pods := n.connect(t)
			if _, err := pods.run(t, "before"); err == nil || !strings.Contains(err.Error(), "wasm") {
				t.Fatalf("a pod before: %v", err)
			}
			was := n.look(t)
			if out, err := n.installer(t, true, "install"); err != nil {
				t.Fatalf("%v: %s\n%s", err, out, n.log(t))
			}
			pod, err := pods.run(t, "after")
			if err != nil {
				t.Fatalf("a pod after: %v\n%s", err, n.log(t))
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(n.log(t))
				}
			})
			if got := pod.hello(t); got != hello {
				t.Errorf("the container of the pod wrote %q, not %q", got, hello)
			}
			// runtime-class-manager names runtimes by their programs.
			for _, runtime := range []string{"io.containerd.wasm.v1", "/opt/containerd/bin/containerd-shim-wasm-v1"} {
				if got := n.must(t, "ctr", "-n", "k8s.io", "run", "--rm", "--runtime", runtime, "--cgroup", "/"+filepath.Base(dir)+"/ctr", helloImage, "c"); got != hello {
					t.Errorf("the container of ctr with %s wrote %q, not %q", runtime, got, hello)
				}
			}

			installed := n.look(t)
			out, err := n.installer(t, true, "uninstall")
			if err == nil || !strings.Contains(out, "1 pods") {
				t.Errorf("uninstalled under a pod: %v: %s", err, out)
			}
			same(t, installed, n.look(t))
			pod.remove(t)
			if out, err := n.installer(t, true, "uninstall"); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			same(t, was, n.look(t))
			if _, err := pods.run(t, "at the end"); err == nil || !strings.Contains(err.Error(), "wasm") {
				t.Errorf("a pod after all was uninstalled: %v", err)
			}
		})
	}
}

// TestFailures has installations that cannot succeed leave nothing.
func TestFailures(t *testing.T) {
	n := newNode(t, release(t, "2"), map[string]string{main: "version = 3\n" + importV + criV3})
	was := n.look(t)
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"nobody starts containerd again", []string{"-timeout", "2s"}, []string{"start containerd again", "undone", "does not answer that it has the runtime wasm"}},
		{"no programs", []string{"-programs", "/etc"}, []string{"/etc/wasm-sandbox", "-programs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := n.installer(t, false, append([]string{"install"}, c.args...)...)
			if err == nil {
				t.Fatal("installed")
			}
			for _, part := range c.says {
				if !strings.Contains(out, part) {
					t.Errorf("%q is not in what the installer says: %s", part, out)
				}
			}
			same(t, was, n.look(t))
		})
	}
	t.Run("programs that do not run", func(t *testing.T) {
		folder := t.TempDir()
		for _, name := range []string{"wasm-sandbox", "containerd-shim-wasm-v1"} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte("no program"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		out, err := n.installer(t, false, "install", "-programs", folder)
		if err == nil || !strings.Contains(out, "for its CPU") {
			t.Errorf("%v: %s", err, out)
		}
		same(t, was, n.look(t))
	})
	t.Run("programs that were there", func(t *testing.T) {
		place := n.path("/opt/containerd/bin/containerd-shim-wasm-v1")
		if err := os.WriteFile(place, []byte("an older one"), 0o700); err != nil {
			t.Fatal(err)
		}
		was := n.look(t)
		for _, command := range []string{"install", "uninstall"} {
			if out, err := n.installer(t, true, command); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		same(t, was, n.look(t))
	})
}

func (n *node) importImages(t *testing.T) {
	t.Helper()
	var archive bytes.Buffer
	if err := image.Write(&archive, image.Image{
		Name:   pauseImage,
		Files:  map[string]string{"/native": find(t, "", "native")},
		Config: v1.ImageConfig{Entrypoint: []string{"/native", "pause"}},
	}, image.Image{
		Name:   helloImage,
		Files:  map[string]string{"/hello.wasm": guest("hello-c")},
		Config: v1.ImageConfig{Entrypoint: []string{"/hello.wasm"}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.path("/tmp/images.tar"), archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	n.must(t, "ctr", "-n", "k8s.io", "image", "import", "/tmp/images.tar")
}

// pods are those of a node, as the kubelet makes them.
type pods struct {
	node    *node
	conn    *grpc.ClientConn
	runtime cri.RuntimeServiceClient
}

type pod struct {
	pods
	id     string
	config *cri.PodSandboxConfig
}

func (n *node) connect(t *testing.T) pods {
	t.Helper()
	conn := bycri.Dial(t, n.path("/run/containerd/containerd.sock"))
	p := pods{n, conn, cri.NewRuntimeServiceClient(conn)}
	// CRI hears of an imported image by an event.
	images := cri.NewImageServiceClient(conn)
	bycri.Until(t, "CRI knows the images", func() bool {
		r, err := images.ListImages(t.Context(), &cri.ListImagesRequest{})
		return err == nil && len(r.Images) == 2
	})
	return p
}

// run makes a pod with the runtime handler on the network of the machine.
func (p pods) run(t *testing.T, name string) (*pod, error) {
	t.Helper()
	p.conn.ResetConnectBackoff() // containerd may have been started again
	config := bycri.Config(name, "/"+filepath.Base(dir), "/tmp")
	config.Metadata.Uid = filepath.Base(p.node.root)
	made, err := p.runtime.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config, RuntimeHandler: "wasm"}, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	return &pod{p, made.PodSandboxId, config}, nil
}

// hello runs the guest in the pod and returns what it wrote.
func (p *pod) hello(t *testing.T) string {
	t.Helper()
	made, err := p.runtime.CreateContainer(t.Context(), &cri.CreateContainerRequest{
		PodSandboxId: p.id, SandboxConfig: p.config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "hello"},
			Image:    &cri.ImageSpec{Image: helloImage},
			LogPath:  "hello.log",
			Linux:    &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.runtime.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		t.Fatal(err)
	}
	bycri.Until(t, "the container ends", func() bool {
		r, err := p.runtime.ContainerStatus(t.Context(), &cri.ContainerStatusRequest{ContainerId: made.ContainerId})
		if err != nil {
			t.Fatal(err)
		}
		return r.Status.State == cri.ContainerState_CONTAINER_EXITED
	})
	data, err := os.ReadFile(p.node.path("/tmp/hello.log"))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(data), " stdout F ")
	return line
}

func (p *pod) remove(t *testing.T) {
	t.Helper()
	if err := bycri.Remove(t.Context(), p.runtime, p.id); err != nil {
		t.Fatal(err)
	}
}
