package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/bycri"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

const pauseImage = "test.local/pause:1"

// pod is one that CRI has made.
type pod struct{ *bycri.Pod }

// useCRI starts a containerd with CRI, for the rest of the test.
func useCRI(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp(engine.Dir, "cri-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := daemon.StartCRI(ctx, dir, engine.Path, pauseImage)
	if err != nil {
		t.Fatal(err)
	}
	savedEngine, savedClient, savedStores := engine, client, stores
	t.Cleanup(func() {
		if err := errors.Join(client.Close(), stores.Close(), d.Stop()); err != nil {
			t.Error(err)
		}
		engine, client, stores = savedEngine, savedClient, savedStores
	})
	if err := use(d); err != nil {
		t.Fatal(err)
	}
}

// newPod makes a pod below a cgroup.
func newPod(t *testing.T, cgroup string) *pod {
	t.Helper()
	file, _ := guest(t, "sleep")
	return &pod{bycri.New(t, engine, pauseImage, file, bycri.Config("pod", cgroup, t.TempDir()))}
}

// knows waits until CRI has heard that an image has this configuration.
func (p *pod) knows(t *testing.T, name string, configuration v1.Descriptor) {
	t.Helper()
	bycri.Until(t, name+" is known to CRI", func() bool { return p.ImageID(t, name) == configuration.Digest.String() })
}

// container has CRI create a container as the kubelet does: of an image by its
// id, which is the configuration's digest, and by its name in the pod's manifest.
func (p *pod) container(t *testing.T, configuration v1.Descriptor, asked string) (id string) {
	t.Helper()
	made, err := p.Runtime.CreateContainer(t.Context(), &cri.CreateContainerRequest{
		PodSandboxId:  p.ID,
		SandboxConfig: p.Config,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: fmt.Sprintf("c%d", lastName.Add(1))},
			Image:    &cri.ImageSpec{Image: configuration.Digest.String(), UserSpecifiedImage: asked},
			Command:  []string{"app"},
			Linux:    &cri.LinuxContainerConfig{},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made.ContainerId
}

// resolved is what a container of CRI's runs.
func resolved(t *testing.T, id string) (oci.Module, error) {
	t.Helper()
	c, err := client.LoadContainer(namespaced(t), id)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := c.Spec(namespaced(t))
	if err != nil {
		t.Fatal(err)
	}
	return oci.Container{ID: id, Spec: spec, Images: stores}.Module(t.Context())
}

// TestKubernetes has CRI create containers of images whose names it confuses, or
// which change before the container is started.
func TestKubernetes(t *testing.T) {
	cgroup := "/" + filepath.Base(engine.Dir)
	useCRI(t)
	p := newPod(t, cgroup)

	// One artifact, and then another one with an equal configuration.
	configuration := blob(t, v1.MediaTypeEmptyJSON, []byte(`{"of":"TestKubernetes"}`))
	nameA, nameB := newName(), newName()
	layerA, layerB := module(t), module(t)
	tag(t, nameA, manifest(t, configuration, layerA))
	p.knows(t, nameA, configuration)
	for _, asked := range []string{nameA, ""} {
		m, err := resolved(t, p.container(t, configuration, asked))
		wantLayer(t, m, err, layerA)
	}
	tag(t, nameB, manifest(t, configuration, layerB))
	p.knows(t, nameB, configuration)
	version, err := client.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, layer := range map[string]v1.Descriptor{nameA: layerA, nameB: layerB} {
		m, err := resolved(t, p.container(t, configuration, name))
		if strings.HasPrefix(version.Version, "1.") { // which forgets the name
			wantError(t, err, errdefs.IsFailedPrecondition, configuration.Digest.String())
			continue
		}
		wantLayer(t, m, err, layer)
		if m.Args[0] != "app" {
			t.Errorf("arguments %q", m.Args)
		}
	}
	_, err = resolved(t, p.container(t, configuration, ""))
	wantError(t, err, errdefs.IsFailedPrecondition, configuration.Digest.String(), "configuration of its own")

	// A name that comes to mean another image.
	name := newName()
	first := blob(t, v1.MediaTypeEmptyJSON, []byte(`{"of":"`+name+`"}`))
	layer := module(t)
	tag(t, name, manifest(t, first, layer))
	p.knows(t, name, first)
	id := p.container(t, first, name)
	m, err := resolved(t, id)
	wantLayer(t, m, err, layer)
	tag(t, name, manifest(t, empty(t), module(t)))
	_, err = resolved(t, id)
	wantError(t, err, errdefs.IsFailedPrecondition, name, first.Digest.String(), "create the container again")
	// CRI may make the name again, until it has heard of everything.
	bycri.Until(t, name+" is gone", func() bool {
		if err := client.ImageService().Delete(namespaced(t), name); err != nil && !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		m, err = resolved(t, id)
		return err == nil
	})
	wantFile(t, m, err, name)

	// Files.
	file, _ := guest(t, "hello-c")
	name = newName()
	imported(t, image.Image{Name: name, Files: map[string]string{"/app": file}})
	bycri.Until(t, name+" is known to CRI", func() bool { return p.ImageID(t, name) != "" })
	m, err = resolved(t, p.container(t, v1.Descriptor{Digest: digest.Digest(p.ImageID(t, name))}, name))
	wantFile(t, m, err, "")
}
