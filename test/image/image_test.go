package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestWrite(t *testing.T) {
	module := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(module, []byte("module"), 0o600); err != nil {
		t.Fatal(err)
	}
	images := []Image{
		{Name: "a:latest", Files: map[string]string{"/app/m.wasm": module}, Config: v1.ImageConfig{Entrypoint: []string{"/app/m.wasm"}}},
		{Name: "b:latest", Files: map[string]string{"/app/m.wasm": module}},
	}
	var first, second bytes.Buffer
	for _, w := range []io.Writer{&first, &second} {
		if err := Write(w, images...); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("equal images gave unequal bytes")
	}

	names, files := untar(t, first.Bytes())
	// Both images have the one layer.
	if len(names) != 3+1+2+2 {
		t.Errorf("the layout holds %q", names)
	}
	var docker []dockerImage
	if err := json.Unmarshal(files["manifest.json"], &docker); err != nil {
		t.Fatal(err)
	}
	if len(docker) != 2 || !slices.Equal(docker[1].RepoTags, []string{"b:latest"}) ||
		files[docker[1].Config] == nil || len(docker[1].Layers) != 1 || files[docker[1].Layers[0]] == nil {
		t.Errorf("Docker finds %+v among %q", docker, names)
	}
	for name, data := range files {
		if dir, sum := filepath.Split(name); dir == "blobs/sha256/" && digest.FromBytes(data).Encoded() != sum {
			t.Errorf("%s is not the digest of its content", name)
		}
	}
	blob := func(d v1.Descriptor, into any) {
		t.Helper()
		data := files["blobs/sha256/"+d.Digest.Encoded()]
		if int64(len(data)) != d.Size {
			t.Fatalf("%s has %d bytes, not %d", d.Digest, len(data), d.Size)
		}
		if raw, ok := into.(*[]byte); ok {
			*raw = data
		} else if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	var index v1.Index
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 2 || index.Manifests[0].Annotations[nameAnnotation] != "a:latest" {
		t.Fatalf("index %+v", index)
	}
	var manifest v1.Manifest
	var config v1.Image
	var layer []byte
	blob(index.Manifests[0], &manifest)
	blob(manifest.Config, &config)
	blob(manifest.Layers[0], &layer)
	if !slices.Equal(config.Config.Entrypoint, []string{"/app/m.wasm"}) ||
		!slices.Equal(config.RootFS.DiffIDs, []digest.Digest{manifest.Layers[0].Digest}) {
		t.Errorf("config %+v", config)
	}
	paths, contents := untar(t, layer)
	if !slices.Equal(paths, []string{"app/", "app/m.wasm"}) || string(contents["app/m.wasm"]) != "module" {
		t.Errorf("the layer holds %q", paths)
	}
}

// TestForms writes an index of an artifact and of an image with Wasm layers.
func TestForms(t *testing.T) {
	module := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(module, []byte("module"), 0o600); err != nil {
		t.Fatal(err)
	}
	wasip1 := v1.Platform{OS: "wasip1", Architecture: "wasm"}
	var out bytes.Buffer
	err := Write(&out, Image{Name: "i:latest", Index: []Image{
		{Platform: wasip1, Artifact: true, Wasm: []Wasm{{File: module}}},
		{Wasm: []Wasm{{File: module, MediaType: "application/x", Title: "m.wasm"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, files := untar(t, out.Bytes())
	read := func(d v1.Descriptor, into any) {
		t.Helper()
		if err := json.Unmarshal(files["blobs/sha256/"+d.Digest.Encoded()], into); err != nil {
			t.Fatal(err)
		}
	}
	var top, index v1.Index
	if err := json.Unmarshal(files["index.json"], &top); err != nil {
		t.Fatal(err)
	}
	read(top.Manifests[0], &index)
	if len(index.Manifests) != 2 || !reflect.DeepEqual(index.Manifests[0].Platform, &wasip1) {
		t.Fatalf("index %+v", index)
	}
	if _, ok := files["manifest.json"]; ok {
		t.Error("Docker's own store is told of images that it cannot have")
	}
	var artifact, layered v1.Manifest
	read(index.Manifests[0], &artifact)
	read(index.Manifests[1], &layered)
	var config struct {
		OS           string
		LayerDigests []digest.Digest
	}
	read(artifact.Config, &config)
	if artifact.Config.MediaType != ArtifactConfig || config.OS != "wasip1" ||
		!slices.Equal(config.LayerDigests, []digest.Digest{digest.FromString("module")}) || artifact.Layers[0].MediaType != ArtifactLayer {
		t.Errorf("artifact %+v with configuration %+v", artifact, config)
	}
	image := string(files["blobs/sha256/"+layered.Config.Digest.Encoded()])
	if layer := layered.Layers[0]; layer.MediaType != "application/x" || layer.Annotations[v1.AnnotationTitle] != "m.wasm" || !strings.Contains(image, `"diff_ids":[]`) {
		t.Errorf("image %+v with configuration %s", layered, image)
	}
}

func TestWriteErrors(t *testing.T) {
	for _, path := range []string{"relative", "/", "/a/../b", ""} {
		if err := Write(io.Discard, Image{Files: map[string]string{path: os.Args[0]}}); err == nil {
			t.Errorf("the path %q was accepted", path)
		}
	}
	if err := Write(io.Discard, Image{Files: map[string]string{"/a": "/nothing/here"}}); err == nil {
		t.Error("a missing file was accepted")
	}
}

// TestNodes has what is not a file follow the files.
func TestNodes(t *testing.T) {
	link := tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "../up"}
	null := tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3, Mode: 0o666}
	data, err := layer(map[string]string{"/file": os.Args[0]}, []tar.Header{link, null})
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := untar(t, data); !slices.Equal(names, []string{"file", "link", "null"}) {
		t.Errorf("the layer holds %q", names)
	}
}

func untar(t *testing.T, data []byte) (names []string, files map[string][]byte) {
	t.Helper()
	files = map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names, files
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
