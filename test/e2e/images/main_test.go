// Package images asks package oci, over the socket of a real containerd, what
// containers of images of every form run. It runs none of them.
//
// The environment is that of package e2e.
package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	runtimespec "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

const (
	wasmRuntime = "io.containerd.wasm.v1"
	maxModule   = 1 << 30
)

// What every test uses: a containerd without CRI, but for the time of
// TestKubernetes. CRI writes into image records by itself.
var (
	engine *daemon.Daemon
	client *containerd.Client
	stores *oci.Images
)

// use makes d what the tests use.
func use(d *daemon.Daemon) (err error) {
	engine = d
	if client, err = containerd.New(d.Address(), containerd.WithDefaultNamespace(d.Namespace)); err != nil {
		return err
	}
	stores, err = oci.NewImages(d.Address(), d.Namespace, maxModule)
	return err
}

func TestMain(m *testing.M) {
	dir := isolate.Enter("images")
	code, err := run(m, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, dir string) (code int, err error) {
	path := os.Getenv("E2E_BIN")
	if path == "" || os.Getenv("E2E_GUESTS") == "" {
		return 1, errors.New("E2E_BIN and E2E_GUESTS are not set; run `make test-e2e`")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	d, err := daemon.Start(ctx, dir, path, filepath.Base(dir))
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	if err := use(d); err != nil {
		return 1, err
	}
	code = m.Run()
	return code, errors.Join(client.Close(), stores.Close())
}

func namespaced(t testing.TB) context.Context {
	return namespaces.WithNamespace(t.Context(), engine.Namespace)
}

// guest is the file of a guest, and its digest.
func guest(t testing.TB, name string) (file string, d digest.Digest) {
	t.Helper()
	file = filepath.Join(os.Getenv("E2E_GUESTS"), name+".wasm")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, digest.FromBytes(data)
}

var lastName atomic.Int64

// newName is a reference that no image has.
func newName() string { return fmt.Sprintf("test.local/app-%d:1", lastName.Add(1)) }

// ctr runs ctr, which shall succeed.
func ctr(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	out, err := engine.Ctr(ctx, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// imported has ctr import an image; flags are ctr's.
func imported(t testing.TB, img image.Image, flags ...string) {
	t.Helper()
	var archive bytes.Buffer
	if err := image.Write(&archive, img); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(file, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctr(t, append(append([]string{"image", "import"}, flags...), file)...)
}

// created has ctr create a container of an image, and returns what the resolver
// makes of it.
func created(t testing.TB, img string, args ...string) (oci.Module, error) {
	t.Helper()
	id := fmt.Sprintf("c%d", lastName.Add(1))
	ctr(t, append([]string{"container", "create", "--runtime", wasmRuntime, img, id}, args...)...)
	t.Cleanup(func() { ctr(t, "container", "rm", id) })
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

// record makes the record of a container, as an engine other than ctr has it.
func record(t testing.TB, c containers.Container) string {
	t.Helper()
	c.ID = fmt.Sprintf("c%d", lastName.Add(1))
	c.Runtime.Name = wasmRuntime
	if c.Spec == nil {
		spec, err := typeurl.MarshalAny(&runtimespec.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		c.Spec = spec
	}
	ctx := namespaced(t)
	if _, err := client.ContainerService().Create(ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.ContainerService().Delete(context.WithoutCancel(ctx), c.ID); err != nil {
			t.Error(err)
		}
	})
	return c.ID
}

// resolve is what the shim asks in Create, of a container with these arguments.
func resolve(t testing.TB, id string, args ...string) (oci.Module, error) {
	t.Helper()
	return resolveWith(t, stores, id, args...)
}

func resolveWith(t testing.TB, stores *oci.Images, id string, args ...string) (oci.Module, error) {
	t.Helper()
	spec := &runtimespec.Spec{Process: &runtimespec.Process{Args: args, Cwd: "/"}}
	return oci.Container{ID: id, Spec: spec, Images: stores}.Module(t.Context())
}

// blob puts data into the content store, with labels that keep its children.
func blob(t testing.TB, mediaType string, data []byte, children ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	labels := map[string]string{"containerd.io/gc.root": "test"}
	for i, child := range children {
		for _, key := range images.ChildGCLabels(child) {
			if strings.HasSuffix(key, ".") {
				key = fmt.Sprintf("%s%d", key, i)
			}
			labels[key] = child.Digest.String()
		}
	}
	store := client.ContentStore()
	err := content.WriteBlob(namespaced(t), store, "test-"+d.Digest.String(), bytes.NewReader(data), d, content.WithLabels(labels))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func jsonBlob(t testing.TB, mediaType string, v any, children ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return blob(t, mediaType, data, children...)
}

func manifest(t testing.TB, config v1.Descriptor, layers ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	return jsonBlob(t, v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    config,
		Layers:    layers,
	}, append([]v1.Descriptor{config}, layers...)...)
}

func index(t testing.TB, manifests ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	return jsonBlob(t, v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: manifests,
	}, manifests...)
}

// tag points a reference to something.
func tag(t testing.TB, name string, target v1.Descriptor) {
	t.Helper()
	ctx := namespaced(t)
	img := images.Image{Name: name, Target: v1.Descriptor{MediaType: target.MediaType, Digest: target.Digest, Size: target.Size}}
	_, err := client.ImageService().Create(ctx, img)
	if err != nil {
		_, err = client.ImageService().Update(ctx, img)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copied is the content of a layer.
func copied(t testing.TB, l *oci.Layer) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := stores.Copy(t.Context(), l, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// wantError checks an error of the resolver's: what it says, and that no
// character of it could be taken for a command by a terminal.
func wantError(t testing.TB, err error, is func(error) bool, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was not refused")
	}
	t.Log(err)
	if !is(err) {
		t.Errorf("it is of another kind: %v", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the error: %v", part, err)
		}
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("the error has control characters: %q", err)
	}
}
