package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

const hostile = "\x1b[2J\r\n\x00evil"

// wasmImage is an image of the form with an ordinary configuration.
func wasmImage(t testing.TB, configuration string, layers ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	return manifest(t, blob(t, v1.MediaTypeImageConfig, []byte(configuration)), layers...)
}

// artifact is one of the CNCF's form.
func artifact(t testing.TB, configuration string, layers ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	return manifest(t, blob(t, image.ArtifactConfig, []byte(configuration)), layers...)
}

func titled(d v1.Descriptor, title string) v1.Descriptor {
	d.Annotations = map[string]string{v1.AnnotationTitle: title}
	return d
}

// absent describes what is not in the content store.
func absent(mediaType string) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(newName()), Size: 100}
}

func many(n int, d func(i int) v1.Descriptor) []v1.Descriptor {
	var all []v1.Descriptor
	for i := range n {
		all = append(all, d(i))
	}
	return all
}

// TestRefused has images that are wrong; every error names the image.
func TestRefused(t *testing.T) {
	const wasi = `{"os":"wasip1","architecture":"wasm","rootfs":{"type":"layers","diff_ids":[]}}`
	for name, c := range map[string]struct {
		target func(t *testing.T) v1.Descriptor
		is     func(error) bool // InvalidArgument if nil
		want   []string
	}{
		"an artifact with two layers": {func(t *testing.T) v1.Descriptor {
			return artifact(t, `{}`, module(t), titled(module(t), "second"+hostile))
		}, nil, []string{"one layer", `second\x1b`}},
		"an artifact without layers": {func(t *testing.T) v1.Descriptor { return artifact(t, `{}`) }, nil, []string{"one layer", "none"}},
		"an artifact of another type's layer": {func(t *testing.T) v1.Descriptor {
			return artifact(t, `{}`, blob(t, "text/plain", []byte("x")))
		}, nil, []string{"one layer", "text/plain"}},
		"an artifact of a component": {func(t *testing.T) v1.Descriptor {
			return artifact(t, `{"os":"wasip2","architecture":"wasm","component":{"exports":[]}}`, module(t))
		}, nil, []string{"component"}},
		"an artifact for WASI 0.2": {func(t *testing.T) v1.Descriptor {
			return artifact(t, `{"os":"wasip2","architecture":"wasm"}`, module(t))
		}, nil, []string{`"wasip2"`, "preview 1"}},
		"an artifact of another layer": {func(t *testing.T) v1.Descriptor {
			return artifact(t, `{"os":"wasip1","architecture":"wasm","layerDigests":["`+digest.FromString("x").String()+`"]}`, module(t))
		}, nil, []string{"layerDigests", digest.FromString("x").String()}},
		"an artifact without JSON": {func(t *testing.T) v1.Descriptor { return artifact(t, `[`, module(t)) }, nil, []string{"configuration", image.ArtifactConfig}},
		"another architecture": {func(t *testing.T) v1.Descriptor {
			return wasmImage(t, `{"os":"wasi","architecture":"amd64"}`, module(t))
		}, nil, []string{`"wasi"`, `"amd64"`}},
		"another system": {func(t *testing.T) v1.Descriptor { return wasmImage(t, `{"os":"windows\u001b"}`, module(t)) }, nil, []string{`windows\x1b`}},
		"two layers without titles": {func(t *testing.T) v1.Descriptor { return wasmImage(t, wasi, module(t), module(t)) }, nil,
			[]string{"2 Wasm layers", `"app.wasm"`, v1.AnnotationTitle}},
		"two layers with one title": {func(t *testing.T) v1.Descriptor {
			return wasmImage(t, wasi, titled(module(t), "app.wasm"), titled(module(t), "/app.wasm"))
		}, nil, []string{"of which 2"}},
		"a thousand layers": {func(t *testing.T) v1.Descriptor {
			return wasmImage(t, wasi, many(1000, func(int) v1.Descriptor { return absent(image.ArtifactLayer) })...)
		}, nil, []string{"and 995 more"}},
		"a type of layer nobody knows": {func(t *testing.T) v1.Descriptor {
			return wasmImage(t, wasi, blob(t, "application/x.wasm"+hostile, []byte("x")))
		}, nil, []string{`application/x.wasm\x1b`, image.ArtifactLayer}},
		"a type of configuration nobody knows": {func(t *testing.T) v1.Descriptor {
			return manifest(t, blob(t, "application/x"+hostile, []byte("{}")), module(t))
		}, nil, []string{`application/x\x1b`, image.ArtifactConfig}},
		"a digest that is none": {func(t *testing.T) v1.Descriptor {
			return jsonBlob(t, v1.MediaTypeImageManifest, v1.Manifest{Config: empty(t),
				Layers: []v1.Descriptor{{MediaType: image.ArtifactLayer, Digest: "../../etc/shadow" + hostile, Size: 1}}})
		}, nil, []string{`etc/shadow\x1b`}},
		"an empty layer": {func(t *testing.T) v1.Descriptor {
			return manifest(t, empty(t), v1.Descriptor{MediaType: image.ArtifactLayer, Digest: digest.FromString(""), Size: 0})
		}, nil, []string{"0 bytes"}},
		"a layer too big": {func(t *testing.T) v1.Descriptor {
			return manifest(t, empty(t), v1.Descriptor{MediaType: image.ArtifactLayer, Digest: digest.FromString(""), Size: 1<<30 + 1})
		}, nil, []string{"1073741825 bytes"}},
		"a manifest too big": {func(t *testing.T) v1.Descriptor {
			return blob(t, v1.MediaTypeImageManifest, bytes.Repeat([]byte(" "), 4<<20+1))
		}, nil, []string{"4194305 bytes"}},
		"a configuration too big": {func(t *testing.T) v1.Descriptor {
			return wasmImage(t, strings.Repeat(" ", 8<<20+1), module(t))
		}, nil, []string{"8388609 bytes"}},
		"a manifest that is not JSON": {func(t *testing.T) v1.Descriptor { return blob(t, v1.MediaTypeImageManifest, []byte("no")) }, nil, []string{"media type"}},
		"a manifest that is JSON, deep": {func(t *testing.T) v1.Descriptor {
			return blob(t, v1.MediaTypeImageManifest, []byte(strings.Repeat("[", 1<<20)))
		}, nil, []string{"media type"}},
		"a manifest that is an index too": {func(t *testing.T) v1.Descriptor {
			return blob(t, v1.MediaTypeImageIndex, []byte(`{"manifests":[],"Layers":[]}`))
		}, nil, []string{`"Layers"`}},
		"an index that calls itself a manifest": {func(t *testing.T) v1.Descriptor {
			return blob(t, v1.MediaTypeImageIndex, []byte(`{"mediaType":"`+v1.MediaTypeImageManifest+`"}`))
		}, nil, []string{"calls itself", v1.MediaTypeImageManifest}},
		"neither manifest nor index": {func(t *testing.T) v1.Descriptor { return blob(t, "text/x"+hostile, []byte("x")) }, nil, []string{`text/x\x1b`}},
		"indexes in indexes": {func(t *testing.T) v1.Descriptor {
			d := manifest(t, empty(t), module(t))
			for range 3 {
				d = index(t, d)
			}
			return d
		}, nil, []string{"nested"}},
		"an index of attestations": {func(t *testing.T) v1.Descriptor {
			d := manifest(t, empty(t), module(t))
			d.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
			return index(t, d)
		}, nil, []string{"no manifest"}},
		"an index of nothing that is here": {func(t *testing.T) v1.Descriptor { return index(t, absent(v1.MediaTypeImageManifest)) },
			errdefs.IsFailedPrecondition, []string{"not in containerd's content store", "--all-platforms"}},
		"an index of 10,000 that are not here": {func(t *testing.T) v1.Descriptor {
			return jsonBlob(t, v1.MediaTypeImageIndex, v1.Index{
				Manifests: many(10000, func(int) v1.Descriptor { return absent(v1.MediaTypeImageManifest) })})
		}, nil, []string{"100 manifests"}},
		"a configuration whose digest is none": {func(t *testing.T) v1.Descriptor {
			return jsonBlob(t, v1.MediaTypeImageManifest, v1.Manifest{
				Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: hostile, Size: 2}, Layers: []v1.Descriptor{module(t)}})
		}, nil, []string{`\x1b[2J`}},
		"a manifest whose digest is none": {func(t *testing.T) v1.Descriptor {
			return jsonBlob(t, v1.MediaTypeImageIndex, v1.Index{Manifests: []v1.Descriptor{{MediaType: v1.MediaTypeImageManifest, Digest: hostile}}})
		}, nil, []string{`\x1b[2J`}},
		"no configuration": {func(t *testing.T) v1.Descriptor { return manifest(t, absent(v1.MediaTypeImageConfig), module(t)) },
			errdefs.IsFailedPrecondition, []string{"configuration", "not in containerd's content store"}},
	} {
		t.Run(name, func(t *testing.T) {
			ref := newName()
			tag(t, ref, c.target(t))
			_, err := resolve(t, record(t, containerOf(ref)), "app.wasm")
			is := c.is
			if is == nil {
				is = errdefs.IsInvalidArgument
			}
			wantError(t, err, is, append(c.want, ref)...)
		})
	}
}

// TestBigIndex has its one manifest that is here among 10,000.
func TestBigIndex(t *testing.T) {
	layer := module(t)
	wanted := manifest(t, empty(t), layer)
	wanted.Platform = &wasip1
	ref := newName()
	tag(t, ref, jsonBlob(t, v1.MediaTypeImageIndex, v1.Index{Manifests: many(10000, func(i int) v1.Descriptor {
		if i == 9000 {
			return wanted
		}
		return absent(v1.MediaTypeImageManifest)
	})}))
	m, err := resolve(t, record(t, containerOf(ref)), "app")
	wantLayer(t, m, err, layer)
}

// damage changes a blob in containerd's content store, behind its back.
func damage(t testing.TB, d v1.Descriptor, change func(data []byte) []byte) {
	t.Helper()
	file := filepath.Join(engine.Root(), "io.containerd.content.v1.content/blobs/sha256", d.Digest.Encoded())
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(file) // which is read-only
	if err := os.WriteFile(file, change(data), 0o444); err != nil {
		t.Fatal(err)
	}
}

func TestDamaged(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"truncated": func(data []byte) []byte { return data[:len(data)-1] },
		"emptied":   func(data []byte) []byte { return nil },
		"altered":   func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
	} {
		t.Run(name, func(t *testing.T) {
			layer := module(t)
			configuration := blob(t, v1.MediaTypeImageConfig, []byte(`{"os":"wasip1","of":"`+newName()+`"}`))
			target := manifest(t, configuration, layer)
			ref := newName()
			tag(t, ref, target)
			id := record(t, containerOf(ref))
			m, err := resolve(t, id, "app")
			wantLayer(t, m, err, layer)

			damage(t, layer, change)
			err = stores.Copy(t.Context(), m.Layer, io.Discard)
			wantError(t, err, errdefs.IsDataLoss, ref, layer.Digest.String(), "pull it again")

			for _, d := range []v1.Descriptor{configuration, target} {
				damage(t, d, change)
				_, err = resolve(t, id, "app")
				wantError(t, err, errdefs.IsDataLoss, ref, d.Digest.String(), "pull it again")
			}
		})
	}
}

// TestLoop has an index that holds itself, which only a damaged store can have.
func TestLoop(t *testing.T) {
	d := index(t, absent(v1.MediaTypeImageManifest))
	ref := newName()
	tag(t, ref, d)
	damage(t, d, func(data []byte) []byte {
		loop := fmt.Appendf(nil, `{"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, d.MediaType, d.Digest, d.Size)
		return append(loop, bytes.Repeat([]byte(" "), len(data)-len(loop))...)
	})
	_, err := resolve(t, record(t, containerOf(ref)), "app")
	wantError(t, err, errdefs.IsDataLoss, ref, d.Digest.String())
}

func TestWrongSizes(t *testing.T) {
	for name, by := range map[string]int64{"smaller": -1, "greater": 1} {
		t.Run(name, func(t *testing.T) {
			layer := module(t)
			layer.Size += by
			target := manifest(t, empty(t), layer)
			ref := newName()
			tag(t, ref, target)
			id := record(t, containerOf(ref))
			m, err := resolve(t, id, "app")
			wantLayer(t, m, err, layer)
			var out bytes.Buffer
			err = stores.Copy(t.Context(), m.Layer, &out)
			wantError(t, err, errdefs.IsDataLoss, ref, "bytes")
			if int64(out.Len()) > layer.Size {
				t.Errorf("%d bytes were written, more than the %d that there should be", out.Len(), layer.Size)
			}

			target.Size += by
			tag(t, ref, target)
			_, err = resolve(t, record(t, containerOf(ref)), "app")
			wantError(t, err, errdefs.IsDataLoss, ref, "bytes")
		})
	}
}

func TestMissingLayer(t *testing.T) {
	layer := module(t)
	ref := newName()
	tag(t, ref, manifest(t, empty(t), layer))
	m, err := resolve(t, record(t, containerOf(ref)), "app")
	wantLayer(t, m, err, layer)
	if err := client.ContentStore().Delete(namespaced(t), layer.Digest); err != nil {
		t.Fatal(err)
	}
	err = stores.Copy(t.Context(), m.Layer, io.Discard)
	wantError(t, err, errdefs.IsFailedPrecondition, ref, layer.Digest.String(), "not in containerd's content store", "--all-platforms")
}

// TestCopyStops copies a big layer to somebody who wants no more of it.
func TestCopyStops(t *testing.T) {
	layer := blob(t, image.ArtifactLayer, make([]byte, 8<<20))
	ref := newName()
	tag(t, ref, manifest(t, empty(t), layer))
	m, err := resolve(t, record(t, containerOf(ref)), "app")
	wantLayer(t, m, err, layer)

	full := &limited{most: 3 << 20}
	if err := stores.Copy(t.Context(), m.Layer, full); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("got %v, not the writer's error", err)
	}
	if full.largest > 1<<20 {
		t.Errorf("%d bytes were held at once", full.largest)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := stores.Copy(ctx, m.Layer, io.Discard); !errdefs.IsCanceled(err) {
		t.Errorf("got %v of a cancelled call", err)
	}
}

// limited takes so many bytes.
type limited struct{ most, largest int }

func (l *limited) Write(p []byte) (int, error) {
	l.largest = max(l.largest, len(p))
	if l.most -= len(p); l.most < 0 {
		return 0, fmt.Errorf("the disk is full")
	}
	return len(p), nil
}

// TestAway asks a containerd that is not there.
func TestAway(t *testing.T) {
	away, err := oci.NewImages(filepath.Join(t.TempDir(), "nobody.sock"), engine.Namespace, maxModule)
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	_, err = resolveWith(t, away, "c1", "app")
	wantError(t, err, errdefs.IsUnavailable, "containerd's record", "nobody.sock")
}
