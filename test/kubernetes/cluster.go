// Package kubernetes brings up a cluster of one node: etcd, the API server, the
// controller manager, the scheduler and the kubelet, and a containerd whose pods
// are run by our shim or by containerd's own.
//
// It is for a program that package isolate has put into namespaces of its own
// with a network of its own: ports are fixed, folders of the machine are covered
// by own ones, and what the cluster does not end, the kernel does.
package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// NodeName is the node's name, and NodeIP its address.
const (
	NodeName = "node"
	NodeIP   = "10.88.76.1"
)

const pauseImage = "test.local/pause:1"

// Cluster is one that runs. Its methods are not to be called at the same time,
// but for Kubectl.
type Cluster struct {
	Dir    string
	Daemon *daemon.Daemon

	path     string // of programs, as in $PATH
	progress func(string)
	control  []*process // in the order of their start
	kubelet  *process
}

// Start brings up a cluster below dir, with programs from path, a list of folders
// as in $PATH, and waits until its node is ready and pods can be made, or ctx ends.
// The images are there for pods whose imagePullPolicy is Never. progress is called
// with a line for each step. The caller stops the cluster with Stop.
func Start(ctx context.Context, dir, path string, images []image.Image, progress func(string)) (c *Cluster, err error) {
	c = &Cluster{Dir: dir, path: path, progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
			c = nil
		}
	}()
	if err := prepareMachine(dir); err != nil {
		return c, err
	}
	if err := c.writeKeys(); err != nil {
		return c, err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"etcd and the API server", c.startAPI},
		{"containerd", c.StartContainerd},
		{"images", func(ctx context.Context) error { return c.importImages(ctx, images) }},
		{"the API server is ready", c.waitAPI},
		{"the controller manager, the scheduler and the kubelet", c.startNode},
		{"runtime classes", c.makeRuntimeClasses},
		{"the node is ready", c.waitNode},
	} {
		began := time.Now()
		if err := step.do(ctx); err != nil {
			return c, fmt.Errorf("%s: %w", step.what, err)
		}
		progress(fmt.Sprintf("%s: %.1f s", step.what, time.Since(began).Seconds()))
	}
	return c, nil
}

// Stop ends every process of the cluster's, and waits for them; pods go on.
func (c *Cluster) Stop() error {
	var err error
	if c.kubelet != nil {
		err = c.kubelet.stop(syscall.SIGTERM)
	}
	for i := len(c.control) - 1; i >= 0; i-- {
		// The API server and etcd have nothing to save, and take their time.
		err = errors.Join(err, c.control[i].stop(syscall.SIGKILL))
	}
	if c.Daemon != nil {
		err = errors.Join(err, c.Daemon.Stop())
	}
	return err
}

// The runtime classes, which are named as the handlers in containerd's configuration.
const (
	Wasm     = "wasm"      // pods are made by containerd, of a pause container
	WasmShim = "wasm-shim" // pods are made by our shim, without one
	Runc     = "runc"      // containerd's own runtime, for comparison

	// Listening follows a name of ours for the same with options, by which pods may
	// choose where they listen. containerd 2.4 starts no container with a user
	// namespace under a runtime with options that are not runc's.
	Listening = "-listening"
)

// handlers continues the table of CNI.
const handlers = `    bin_dir = %q
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.wasm-shim]
    runtime_type = 'io.containerd.wasm.v1'
    sandboxer = 'shim'
    disable_pause_image_pull = true
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.wasm-listening]
    runtime_type = 'io.containerd.wasm.v1'
    pod_annotations = ['io.containerd.wasm.v1.*']
    [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.wasm-listening.options]
      Annotations = ['listen']
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.wasm-shim-listening]
    runtime_type = 'io.containerd.wasm.v1'
    sandboxer = 'shim'
    disable_pause_image_pull = true
    pod_annotations = ['io.containerd.wasm.v1.*']
    [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.wasm-shim-listening.options]
      Annotations = ['listen']
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
`

// StartContainerd starts containerd, also again after it has ended.
func (c *Cluster) StartContainerd(ctx context.Context) (err error) {
	plugins, err := c.program("bridge")
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "containerd")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "pods.conflist"), []byte(network(c.Dir)), 0o600); err != nil {
		return err
	}
	c.Daemon, err = daemon.StartCRI(ctx, dir, c.path, pauseImage, fmt.Sprintf(handlers, filepath.Dir(plugins)))
	return err
}

// KillContainerd ends containerd as a crash does.
func (c *Cluster) KillContainerd() error {
	if err := syscall.Kill(c.Daemon.Pid(), syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill containerd: %w", err)
	}
	return c.Daemon.Stop()
}

// KillKubelet ends the kubelet as a crash does.
func (c *Cluster) KillKubelet() error { return c.kubelet.stop(syscall.SIGKILL) }

// importImages gives containerd the pause image and the others.
func (c *Cluster) importImages(ctx context.Context, images []image.Image) error {
	pause, err := c.program("pause")
	if err != nil {
		return err
	}
	images = append([]image.Image{{
		Name:   pauseImage,
		Files:  map[string]string{"/pause": pause},
		Config: v1.ImageConfig{Entrypoint: []string{"/pause"}},
	}}, images...)
	var archive bytes.Buffer
	if err := image.Write(&archive, images...); err != nil {
		return err
	}
	cmd := c.Daemon.Ctr(ctx, "image", "import", "-")
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr image import: %w\n%s", err, out)
	}
	return nil
}

// Kubectl is a kubectl command of the cluster's administrator, not yet started.
// It is killed when ctx ends.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	program, err := c.program("kubectl")
	cmd := exec.CommandContext(ctx, program, append([]string{"--kubeconfig", c.kubeconfig(), "--cache-dir", filepath.Join(c.Dir, "discovery")}, args...)...)
	if err != nil {
		cmd.Err = err
	}
	cmd.Env = c.environ()
	return cmd
}

func (c *Cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := c.Kubectl(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// program finds a program in c.path, and nowhere else.
func (c *Cluster) program(name string) (string, error) {
	for _, dir := range filepath.SplitList(c.path) {
		file, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s: run `make test-k8s`", name, c.path)
}

func (c *Cluster) environ() []string {
	return []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + c.Dir, "TMPDIR=" + os.TempDir()}
}
