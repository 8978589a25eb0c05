// Package image writes container images for the tests, in the forms in which
// WebAssembly is published: files in one plain tar layer, as a builder makes them
// of a `FROM scratch` file; Wasm layers; artifacts; and indexes by platform.
package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	_ "crypto/sha256" // go-digest uses what is linked in
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is one image to be written.
type Image struct {
	Name   string            // the whole reference, such as "docker.io/library/hello:latest"
	Files  map[string]string // path in the image, absolute -> file to be read; mode 0755
	Nodes  []tar.Header      // what has no content, as it stands in the layer: directories, links, devices, FIFOs
	Config v1.ImageConfig

	// Platform is linux and the architecture of this program where it is empty.
	Platform v1.Platform
	// Wasm are layers that are a module each. An image without Files has no others.
	Wasm []Wasm
	// WasmDiffIDs has the configuration's diff_ids name the Wasm layers, too, as
	// builders write it that take a module for a layer like any other.
	WasmDiffIDs bool
	// Artifact makes it one of the CNCF's form, of its Wasm layers alone.
	Artifact bool
	// Index makes it an index of these, whose names do not count; nothing else does.
	Index []Image
}

// Wasm is a layer that is a module.
type Wasm struct {
	File      string // to be read
	MediaType string // ArtifactLayer where it is empty
	Title     string // org.opencontainers.image.title, if it is not empty
}

// The media types of the CNCF's artifacts.
const (
	ArtifactConfig = "application/vnd.wasm.config.v0+json"
	ArtifactLayer  = "application/wasm"
)

// nameAnnotation is the one that containerd's importer takes an image's whole
// name from; the spec's org.opencontainers.image.ref.name holds a mere tag.
const nameAnnotation = "io.containerd.image.name"

// dockerFile is for Docker's own image store.
const dockerFile = "manifest.json"

// Write writes an OCI image layout with the images as a tar stream, the form
// that `ctr image import` and `docker load` read. Docker's own image store, which
// knows tar layers alone, finds the images of such layers; of an index the one
// for this machine, or else the first. Equal images give equal bytes.
func Write(w io.Writer, images ...Image) error {
	l := &layout{tar: tar.NewWriter(w), written: map[digest.Digest]bool{}}
	var docker []dockerImage
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	for _, img := range images {
		manifest, err := l.image(img)
		if err != nil {
			return fmt.Errorf("image %s: %w", img.Name, err)
		}
		manifest.Annotations = map[string]string{nameAnnotation: img.Name}
		index.Manifests = append(index.Manifests, manifest)
		if d := l.docker; d.Layers != nil {
			d.RepoTags = []string{img.Name}
			docker = append(docker, d)
		}
		l.docker = dockerImage{}
	}
	version, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := l.file(v1.ImageLayoutFile, version); err != nil {
		return err
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := l.file(v1.ImageIndexFile, data); err != nil {
		return err
	}
	if docker != nil {
		if data, err = json.Marshal(docker); err != nil {
			return err
		}
		if err := l.file(dockerFile, data); err != nil {
			return err
		}
	}
	return l.tar.Close()
}

// blobs is the folder of an image layout.
const blobs = "blobs/sha256/"

type layout struct {
	tar     *tar.Writer
	written map[digest.Digest]bool
	docker  dockerImage // the image at hand, if Docker's own store can have it
}

// dockerImage has the names of files in the archive.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (l *layout) image(img Image) (v1.Descriptor, error) {
	if img.Index != nil {
		return l.index(img.Index)
	}
	if img.Platform.OS == "" {
		img.Platform = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	var layers []v1.Descriptor
	diffIDs := []digest.Digest{} // an image of Wasm layers alone says [], not null
	if len(img.Files) > 0 || len(img.Wasm) == 0 {
		data, err := layer(img.Files, img.Nodes)
		if err != nil {
			return v1.Descriptor{}, err
		}
		files, err := l.blob(v1.MediaTypeImageLayer, data)
		if err != nil {
			return v1.Descriptor{}, err
		}
		layers = append(layers, files)
		diffIDs = append(diffIDs, files.Digest) // it is not compressed
	}
	for _, w := range img.Wasm {
		module, err := l.wasm(w)
		if err != nil {
			return v1.Descriptor{}, err
		}
		layers = append(layers, module)
		if img.WasmDiffIDs {
			diffIDs = append(diffIDs, module.Digest)
		}
	}

	var config v1.Descriptor
	var err error
	if img.Artifact {
		config, err = l.artifactConfig(img.Platform, layers)
	} else {
		config, err = l.json(v1.MediaTypeImageConfig, v1.Image{
			Platform: img.Platform,
			Config:   img.Config,
			RootFS:   v1.RootFS{Type: "layers", DiffIDs: diffIDs},
		})
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := l.json(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    config,
		Layers:    layers,
	})
	manifest.Platform = &img.Platform
	native := img.Platform.OS == "linux" && img.Platform.Architecture == runtime.GOARCH
	if len(img.Wasm) == 0 && (l.docker.Layers == nil || native) {
		l.docker = dockerImage{Config: blobs + config.Digest.Encoded()}
		for _, d := range layers {
			l.docker.Layers = append(l.docker.Layers, blobs+d.Digest.Encoded())
		}
	}
	return manifest, err
}

func (l *layout) index(images []Image) (v1.Descriptor, error) {
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	for _, img := range images {
		manifest, err := l.image(img)
		if err != nil {
			return v1.Descriptor{}, err
		}
		index.Manifests = append(index.Manifests, manifest)
	}
	return l.json(v1.MediaTypeImageIndex, index)
}

func (l *layout) wasm(w Wasm) (v1.Descriptor, error) {
	data, err := os.ReadFile(w.File)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d, err := l.blob(cmp.Or(w.MediaType, ArtifactLayer), data)
	if w.Title != "" {
		d.Annotations = map[string]string{v1.AnnotationTitle: w.Title}
	}
	return d, err
}

// artifactConfig writes what the CNCF's Wasm working group wants of a module.
func (l *layout) artifactConfig(p v1.Platform, layers []v1.Descriptor) (v1.Descriptor, error) {
	config := struct {
		OS           string          `json:"os"`
		Architecture string          `json:"architecture"`
		LayerDigests []digest.Digest `json:"layerDigests"`
	}{OS: p.OS, Architecture: p.Architecture}
	for _, layer := range layers {
		config.LayerDigests = append(config.LayerDigests, layer.Digest)
	}
	return l.json(ArtifactConfig, config)
}

func (l *layout) json(mediaType string, v any) (v1.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return l.blob(mediaType, data)
}

func (l *layout) blob(mediaType string, data []byte) (v1.Descriptor, error) {
	d := digest.FromBytes(data)
	descriptor := v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
	if l.written[d] {
		return descriptor, nil
	}
	l.written[d] = true
	return descriptor, l.file(blobs+d.Encoded(), data)
}

func (l *layout) file(name string, data []byte) error {
	return writeFile(l.tar, name, 0o644, data)
}

// layer packs the files, sorted, each with the folders above it, and after them
// the nodes.
func layer(files map[string]string, nodes []tar.Header) ([]byte, error) {
	var paths []string
	for path := range files {
		paths = append(paths, path)
	}
	slices.Sort(paths)

	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	made := map[string]bool{}
	for _, path := range paths {
		name, ok := strings.CutPrefix(path, "/")
		if !ok || !fs.ValidPath(name) {
			return nil, fmt.Errorf("%q is not a clean absolute path", path)
		}
		for i, c := range name {
			if dir := name[:i] + "/"; c == '/' && !made[dir] {
				made[dir] = true
				h := &tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: time.Unix(0, 0)}
				if err := w.WriteHeader(h); err != nil {
					return nil, err
				}
			}
		}
		data, err := os.ReadFile(files[path])
		if err != nil {
			return nil, err
		}
		if err := writeFile(w, name, 0o755, data); err != nil {
			return nil, err
		}
	}
	for _, node := range nodes {
		node.ModTime = time.Unix(0, 0)
		if err := w.WriteHeader(&node); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func writeFile(w *tar.Writer, name string, mode int64, data []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
