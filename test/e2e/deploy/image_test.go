package deploy

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	strict "sigs.k8s.io/yaml"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/deploy/kubernetes"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/bycri"
)

var nodeImage = flag.String("image", "", "the `archive` with the installer's image")

// TestImage runs the installer's image in containers of the node's own, with the
// privileges that the DaemonSet gives it and no others.
func TestImage(t *testing.T) {
	n := newNode(t, release(t, "2"), map[string]string{main: "version = 3\n" + importV + criV3})
	data, err := os.ReadFile(*nodeImage)
	if err != nil {
		t.Fatalf("-image: %v; run `make test-deploy`", err)
	}
	if err := os.WriteFile(n.path("/tmp/image.tar"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	n.must(t, "ctr", "image", "import", "/tmp/image.tar")
	was := n.look(t)

	n.container(t, "install", "installed: containerd has the runtime wasm")
	if names := n.must(t, "ctr", "plugins", "inspect-runtime", "--runtime", "io.containerd.wasm.v1"); !strings.Contains(names, "io.containerd.wasm.v1") {
		t.Errorf("ctr plugins inspect-runtime: %s", names)
	}
	n.container(t, "uninstall", "uninstalled: the node is as it was")
	same(t, was, n.look(t))
}

// daemonSet is the base's.
func daemonSet(t *testing.T) (spec core.PodSpec) {
	t.Helper()
	data, err := kubernetes.Files.ReadFile("base/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set apps.DaemonSet
	if err := strict.UnmarshalStrict(data, &set); err != nil {
		t.Fatal(err)
	}
	return set.Spec.Template.Spec
}

// container runs a command of the image as the DaemonSet's container runs, and
// waits until its output has the line.
func (n *node) container(t *testing.T, command, line string) {
	t.Helper()
	spec := daemonSet(t)
	security := spec.InitContainers[0].SecurityContext
	args := []string{
		"run", "--detach", "--log-uri", "file:///tmp/" + command + ".log", "--cgroup", "/" + filepath.Base(dir) + "/" + command,
		"--net-host", "--seccomp", "--mount", "type=bind,src=/,dst=/host,options=rbind:rw:rslave",
	}
	if *security.ReadOnlyRootFilesystem {
		args = append(args, "--read-only")
	}
	kept := map[string]bool{}
	for _, c := range security.Capabilities.Add {
		kept["CAP_"+string(c)] = true
	}
	for _, c := range n.capabilities(t) {
		if !kept[c] {
			args = append(args, "--cap-drop", c)
		}
	}
	image := "docker.io/library/" + spec.InitContainers[0].Image
	n.must(t, "ctr", append(args, image, command, "/wasm-node-installer", command)...)
	restarted := false
	bycri.Until(t, command+" in its container", func() bool {
		data, err := os.ReadFile(n.path("/tmp/" + command + ".log"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "start containerd again now") && !restarted {
			restarted = true
			n.stop(t)
			n.start(t)
		}
		if strings.Contains(string(data), "wasm-node-installer "+command+":") {
			t.Fatalf("%s\n%s", data, n.log(t))
		}
		return strings.Contains(string(data), line)
	})
	bycri.Until(t, "the container ends", func() bool {
		return strings.Contains(n.must(t, "ctr", "task", "ls"), "STOPPED")
	})
	n.must(t, "ctr", "task", "rm", command)
	n.must(t, "ctr", "container", "rm", command)
}

// capabilities are those that a container of ctr's has by default.
func (n *node) capabilities(t *testing.T) []string {
	t.Helper()
	var spec struct {
		Process struct {
			Capabilities struct{ Bounding []string }
		}
	}
	if err := json.Unmarshal([]byte(n.must(t, "ctr", "oci", "spec")), &spec); err != nil {
		t.Fatal(err)
	}
	if len(spec.Process.Capabilities.Bounding) == 0 {
		t.Fatal("ctr gives no capabilities: what the DaemonSet drops is not tried")
	}
	return spec.Process.Capabilities.Bounding
}
