// Package bycri has a real containerd's CRI make pods, as the kubelet does, in the
// network of the machine.
package bycri

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// Pod is a pod, and what it is made by.
type Pod struct {
	ID      string
	Config  *cri.PodSandboxConfig
	Runtime cri.RuntimeServiceClient
	Images  cri.ImageServiceClient
}

// Config is that of a pod whose containers' control groups are below cgroup, and
// whose logs are in a folder.
func Config(name, cgroup, logs string) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name},
		LogDirectory: logs,
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    cgroup,
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE}},
		},
	}
}

// Dial connects to a containerd's socket until the end of the test.
func Dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// New makes a pod of containerd's default runtime until the end of the test. Its own
// container is a Wasm guest, the module in a file, which it imports under the name
// of the image that containerd's configuration has for pods.
func New(t testing.TB, d *daemon.Daemon, own, module string, config *cri.PodSandboxConfig) *Pod {
	t.Helper()
	conn := Dial(t, d.Address())
	p := &Pod{Config: config, Runtime: cri.NewRuntimeServiceClient(conn), Images: cri.NewImageServiceClient(conn)}
	var archive bytes.Buffer
	if err := image.Write(&archive, image.Image{
		Name:   own,
		Files:  map[string]string{"/pause.wasm": module},
		Config: v1.ImageConfig{Entrypoint: []string{"/pause.wasm", "600000"}},
	}); err != nil {
		t.Fatal(err)
	}
	ctr := d.Ctr(t.Context(), "image", "import", "-")
	ctr.Stdin = &archive
	if out, err := ctr.CombinedOutput(); err != nil {
		t.Fatalf("ctr image import: %v\n%s", err, out)
	}
	// CRI hears of it by an event.
	Until(t, own+" is known to CRI", func() bool { return p.ImageID(t, own) != "" })
	made, err := p.Runtime.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	p.ID = made.PodSandboxId
	t.Cleanup(func() {
		if err := Remove(context.WithoutCancel(t.Context()), p.Runtime, p.ID); err != nil {
			t.Error(err)
		}
	})
	return p
}

// ImageID is the id that CRI has for an image; empty where it has not heard of it.
func (p *Pod) ImageID(t testing.TB, name string) string {
	t.Helper()
	r, err := p.Images.ImageStatus(t.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Image.GetId()
}

// Remove stops a pod and removes it; one that has been removed is no error.
func Remove(ctx context.Context, runtime cri.RuntimeServiceClient, id string) error {
	_, stopErr := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id})
	_, err := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return errors.Join(stopErr, err)
}

// Until waits for what nobody tells, or fails the test.
func Until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after 30 s", what)
		}
	}
}
