package images

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// The tests of this file have images whose references, between the creation of
// a container and its start, come to mean something else. The module must be the
// right one, or there is an error.

// empty is a configuration that says nothing, as ORAS writes it.
func empty(t testing.TB) v1.Descriptor { return blob(t, v1.MediaTypeEmptyJSON, []byte("{}")) }

// module is a layer that no other is like.
func module(t testing.TB) v1.Descriptor {
	return blob(t, image.ArtifactLayer, []byte("\x00asm\x01\x00\x00\x00"+newName()))
}

func containerOf(image string) containers.Container { return containers.Container{Image: image} }

// kubernetes is the record that CRI makes of a container: configuration is the
// image's id; asked is the image as the pod has it, since containerd 2.0.
func kubernetes(t testing.TB, image string, configuration v1.Descriptor, asked string) containers.Container {
	t.Helper()
	value, err := json.Marshal(map[string]any{"Version": "v1", "Metadata": map[string]any{
		"ImageRef": configuration.Digest,
		"Config":   map[string]any{"image": map[string]any{"image": configuration.Digest, "user_specified_image": asked}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := containerOf(image)
	c.Extensions = map[string]typeurl.Any{"io.cri-containerd.container.metadata": &anypb.Any{
		TypeUrl: "github.com/containerd/cri/pkg/store/container/Metadata", Value: value,
	}}
	return c
}

func wantLayer(t testing.TB, m oci.Module, err error, want v1.Descriptor) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if m.Layer == nil || m.Layer.Digest != want.Digest {
		t.Errorf("got %+v with layer %v, not layer %s", m, m.Layer, want.Digest)
	}
}

func wantFile(t testing.TB, m oci.Module, err error, note string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if m.Layer != nil || len(m.Paths) == 0 || !strings.Contains(m.Note, note) {
		t.Errorf("got %+v with layer %v, not a file and the note %q", m, m.Layer, note)
	}
}

func TestRetagged(t *testing.T) {
	name := newName()
	first := module(t)
	tag(t, name, manifest(t, empty(t), first))
	id := record(t, containerOf(name))
	m, err := resolve(t, id, "app")
	wantLayer(t, m, err, first)

	tag(t, name, manifest(t, empty(t), module(t)))
	_, err = resolve(t, id, "app")
	wantError(t, err, errdefs.IsFailedPrecondition, name, "after the container was created", "create the container again")

	// Files were unpacked when the container was created.
	tag(t, name, manifest(t, empty(t)))
	m, err = resolve(t, id, "/app.wasm")
	wantFile(t, m, err, "")
}

func TestNamedByDigest(t *testing.T) {
	layer := module(t)
	target := manifest(t, empty(t), layer)
	name := newName() + "@" + target.Digest.String()
	tag(t, name, target)
	id := record(t, containerOf(name))
	tag(t, name, target) // pulled once more
	m, err := resolve(t, id, "app")
	wantLayer(t, m, err, layer)

	tag(t, name, manifest(t, empty(t), module(t)))
	_, err = resolve(t, id, "app")
	wantError(t, err, errdefs.IsFailedPrecondition, name, "of another digest")
}

// TestEitherOfTwo has an index with two modules for WASI, of which a client took
// one and did not say which.
func TestEitherOfTwo(t *testing.T) {
	for what, platforms := range map[string][2]v1.Platform{
		"two names of WASI": {{OS: "wasip1", Architecture: "wasm"}, {OS: "wasi", Architecture: "wasm"}},
		"one name":          {{OS: "wasi", Architecture: "wasm"}, {OS: "wasi", Architecture: "wasm"}},
		"WASI and Linux":    {{OS: "wasip1", Architecture: "wasm"}, {OS: "linux", Architecture: "s390x"}},
	} {
		t.Run(what, func(t *testing.T) {
			layers := []v1.Descriptor{module(t), module(t)}
			var manifests []v1.Descriptor
			for i, p := range platforms {
				m := manifest(t, empty(t), layers[i])
				m.Platform = &p
				manifests = append(manifests, m)
			}
			name := newName()
			tag(t, name, index(t, manifests...))
			m, err := resolve(t, record(t, containerOf(name)), "app")
			if platforms[1].OS == "linux" {
				wantLayer(t, m, err, layers[0])
				return
			}
			wantError(t, err, errdefs.IsFailedPrecondition, name, "engines do not tell which", manifests[0].Digest.String(), manifests[1].Digest.String(), "NAME@DIGEST")

			byDigest := name + "@" + manifests[1].Digest.String()
			tag(t, byDigest, manifests[1])
			m, err = resolve(t, record(t, containerOf(byDigest)), "app")
			wantLayer(t, m, err, layers[1])
		})
	}
}

func TestRemoved(t *testing.T) {
	name, layer := newName(), module(t)
	configuration := empty(t)
	tag(t, name, manifest(t, configuration, layer))
	ids := []string{
		record(t, containerOf(name)),
		record(t, kubernetes(t, name, configuration, name)),
	}
	if err := client.ImageService().Delete(namespaced(t), name, images.SynchronousDelete()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		m, err := resolve(t, id, "/app.wasm")
		wantFile(t, m, err, name)
	}
}

func TestNoImage(t *testing.T) {
	m, err := resolve(t, record(t, containers.Container{}), "/app.wasm")
	wantFile(t, m, err, "")
	m, err = resolve(t, "nobody", "/app.wasm")
	wantFile(t, m, err, "no record")
}

// TestEqualConfigurations has two artifacts that CRI takes for one: whichever
// the pod asks for, CRI may put the other's name into the record.
func TestEqualConfigurations(t *testing.T) {
	configuration := blob(t, v1.MediaTypeEmptyJSON, []byte(`{"of":"TestEqualConfigurations"}`))
	nameA, nameB := newName(), newName()
	layerA, layerB := module(t), module(t)
	manifestA := manifest(t, configuration, layerA)
	tag(t, nameA, manifestA)

	// So far there is one.
	m, err := resolve(t, record(t, kubernetes(t, nameA, configuration, "")), "app")
	wantLayer(t, m, err, layerA)

	// One that differs in what is not Wasm is no other.
	beside := manifest(t, configuration, layerA, blob(t, "text/plain", []byte("README")))
	tag(t, newName(), beside)
	m, err = resolve(t, record(t, kubernetes(t, nameA, configuration, "")), "app")
	wantLayer(t, m, err, layerA)

	tag(t, nameB, manifest(t, configuration, layerB))
	for asked, want := range map[string]v1.Descriptor{nameA: layerA, nameB: layerB} {
		for _, noted := range []string{nameA, nameB} {
			m, err := resolve(t, record(t, kubernetes(t, noted, configuration, asked)), "app")
			wantLayer(t, m, err, want)
		}
	}
	// Before containerd 2.0, and where the pod asks by the image's id.
	for _, asked := range []string{"", configuration.Digest.String(), "test.local/unknown"} {
		_, err = resolve(t, record(t, kubernetes(t, nameB, configuration, asked)), "app")
		other := manifestA // or the one beside it, in no particular order
		if err != nil && strings.Contains(err.Error(), beside.Digest.String()) {
			other = beside
		}
		wantError(t, err, errdefs.IsFailedPrecondition, nameB, other.Digest.String(), configuration.Digest.String(), "configuration of its own")
	}
}

func TestRetaggedUnderKubernetes(t *testing.T) {
	name, pulled := newName(), newName()
	configurations := []v1.Descriptor{
		blob(t, v1.MediaTypeEmptyJSON, []byte(`{"of":"`+name+`"}`)),
		blob(t, v1.MediaTypeEmptyJSON, []byte(`{"of":"`+pulled+`"}`)),
	}
	layers := []v1.Descriptor{module(t), module(t)}
	manifests := []v1.Descriptor{manifest(t, configurations[0], layers[0]), manifest(t, configurations[1], layers[1])}

	tag(t, name, manifests[0])
	id := record(t, kubernetes(t, name, configurations[0], name))
	tag(t, name, manifests[0]) // another pod has had it pulled
	m, err := resolve(t, id, "app")
	wantLayer(t, m, err, layers[0])

	tag(t, name, manifests[1])
	_, err = resolve(t, id, "app")
	wantError(t, err, errdefs.IsFailedPrecondition, name, configurations[0].Digest.String(), "create the container again")

	// The record's name is another that still means what was pulled.
	tag(t, pulled, manifests[0])
	m, err = resolve(t, record(t, kubernetes(t, pulled, configurations[0], name)), "app")
	wantLayer(t, m, err, layers[0])
}

// TestChosenByKubernetes has an index of which CRI, for a Linux host, has taken
// another manifest than this runtime would.
func TestChosenByKubernetes(t *testing.T) {
	name, layer := newName(), module(t)
	configuration := blob(t, v1.MediaTypeEmptyJSON, []byte(`{"of":"`+name+`"}`))
	linux, wasm := manifest(t, configuration, layer), manifest(t, empty(t), module(t))
	linux.Platform, wasm.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}, &wasip1
	tag(t, name, index(t, wasm, linux))
	m, err := resolve(t, record(t, kubernetes(t, name, configuration, name)), "app")
	wantLayer(t, m, err, layer)
}

// TestShortName has a pod that asks for an image by less than its whole name.
func TestShortName(t *testing.T) {
	configuration := blob(t, v1.MediaTypeEmptyJSON, []byte(`{"of":"TestShortName"}`))
	layer := module(t)
	tag(t, "docker.io/library/short:latest", manifest(t, configuration, layer))
	tag(t, "docker.io/library/first:latest", manifest(t, configuration, module(t)))
	for _, asked := range []string{"short", "short:latest", "library/short", "docker.io/short", "index.docker.io/library/short"} {
		m, err := resolve(t, record(t, kubernetes(t, "docker.io/library/first:latest", configuration, asked)), "app")
		wantLayer(t, m, err, layer)
	}
}
