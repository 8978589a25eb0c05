package images

import (
	"bytes"
	"os"
	"runtime"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

var wasip1 = v1.Platform{OS: "wasip1", Architecture: "wasm"}

// TestForms resolves an image of every form in which people publish Wasm.
func TestForms(t *testing.T) {
	file, want := guest(t, "hello-c")
	other, otherDigest := guest(t, "cat")
	entrypoint := func(words ...string) v1.ImageConfig { return v1.ImageConfig{Entrypoint: words} }
	inFile := map[string]string{"/app.wasm": file}
	layer := []image.Wasm{{File: file}}
	linux := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}

	for name, c := range map[string]struct {
		image image.Image
		args  []string // of the pod or the command line
		// What is wanted: a layer, or the path of a file if it is empty.
		layer    string
		path     string
		function string
		argv0    string
	}{
		"a file, linux": {
			image: image.Image{Files: inFile, Config: entrypoint("/app.wasm#run")},
			path:  "/app.wasm", function: "run", argv0: "/app.wasm",
		},
		"a file, another architecture": {
			image: image.Image{Files: inFile, Config: entrypoint("/app.wasm"), Platform: v1.Platform{OS: "linux", Architecture: "s390x"}},
			path:  "/app.wasm", argv0: "/app.wasm",
		},
		"a file, wasip1": {
			image: image.Image{Files: inFile, Config: entrypoint("/app.wasm"), Platform: wasip1},
			path:  "/app.wasm", argv0: "/app.wasm",
		},
		"a file, wasi": {
			image: image.Image{Files: inFile, Config: entrypoint("/app.wasm"), Platform: v1.Platform{OS: "wasi", Architecture: "wasm"}},
			path:  "/app.wasm", argv0: "/app.wasm",
		},
		"a layer": {
			image: image.Image{Wasm: layer, Config: entrypoint("app.wasm#run"), Platform: wasip1},
			layer: want.String(), function: "run", argv0: "app.wasm",
		},
		"a layer of runwasi's builder": {
			image: image.Image{
				Wasm:     []image.Wasm{{File: file, MediaType: "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"}},
				Config:   entrypoint("/whatever"),
				Platform: wasip1,
			},
			layer: want.String(), argv0: "/whatever",
		},
		"a layer of wasm-to-oci": {
			image: image.Image{Wasm: []image.Wasm{{File: file, MediaType: "application/vnd.wasm.content.layer.v1+wasm", Title: "app.wasm"}}, Config: entrypoint("#run")},
			layer: want.String(), function: "run", argv0: "app.wasm",
		},
		"a layer without a name": {
			image: image.Image{Wasm: layer, Config: entrypoint("#run")},
			layer: want.String(), function: "run", argv0: "main.wasm",
		},
		"a layer beside files": {
			image: image.Image{Wasm: layer, Files: map[string]string{"/data": other}, Config: entrypoint("/app.wasm")},
			layer: want.String(), argv0: "/app.wasm",
		},
		"one of two layers, by its title": {
			image: image.Image{Wasm: []image.Wasm{{File: file, Title: "app.wasm"}, {File: other, Title: "tools/cat.wasm"}}, Config: entrypoint("/app.wasm")},
			args:  []string{"/tools/./cat.wasm", "x"},
			layer: otherDigest.String(), argv0: "/tools/./cat.wasm",
		},
		"an artifact": {
			image: image.Image{Wasm: layer, Artifact: true, Platform: wasip1},
			args:  []string{"app"},
			layer: want.String(), argv0: "app",
		},
		"an index with nothing but Wasm": {
			image: image.Image{Index: []image.Image{{Wasm: layer, Config: entrypoint("app.wasm"), Platform: v1.Platform{OS: "wasi", Architecture: "wasm"}}}},
			args:  []string{"app.wasm"},
			layer: want.String(), argv0: "app.wasm",
		},
		"an index with Linux, WASI and WASI preview 1": {
			image: image.Image{Index: []image.Image{
				{Files: inFile, Config: entrypoint("/linux"), Platform: linux},
				{Wasm: layer, Config: entrypoint("wasi"), Platform: v1.Platform{OS: "wasi", Architecture: "wasm"}},
				{Wasm: layer, Platform: wasip1},
			}},
			args:  []string{"app.wasm"},
			layer: want.String(), argv0: "app.wasm",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.image.Name = newName()
			var m oci.Module
			var err error
			if !c.image.Artifact && c.image.Index == nil {
				imported(t, c.image, "--all-platforms")
				m, err = created(t, c.image.Name, c.args...)
			} else {
				// ctr makes no container of these; CRI does.
				imported(t, c.image, "--all-platforms", "--no-unpack")
				m, err = resolve(t, record(t, containerOf(c.image.Name)), c.args...)
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Note != "" || m.Function != c.function || m.Args[0] != c.argv0 {
				t.Errorf("got %+v", m)
			}
			if c.layer == "" {
				if m.Layer != nil || len(m.Paths) != 1 || m.Paths[0] != c.path {
					t.Errorf("got %+v, not the file %s", m, c.path)
				}
				return
			}
			if m.Layer == nil || m.Paths != nil || !m.Declared || m.Layer.Digest.String() != c.layer || m.Layer.Image != c.image.Name {
				t.Fatalf("got %+v with layer %v, not layer %s", m, m.Layer, c.layer)
			}
			source := file
			if c.layer == otherDigest.String() {
				source = other
			}
			if data, err := os.ReadFile(source); err != nil || !bytes.Equal(copied(t, m.Layer), data) {
				t.Errorf("the layer's content is not that of %s (%v)", source, err)
			}
		})
	}
}
