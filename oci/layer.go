package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// wasmLayers are the media types of layers that are one module each, as it is:
// the artifact's of the CNCF's Wasm working group, which runwasi's images use
// too, wasm-to-oci's, and the one that runwasi's image builder writes.
var wasmLayers = []string{
	"application/wasm",
	"application/vnd.wasm.content.layer.v1+wasm",
	"application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
}

// Configurations that images with Wasm layers have. Those in silentConfigs say
// nothing about the module: what ORAS and wasm-to-oci write.
const (
	artifactConfig = "application/vnd.wasm.config.v0+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

var silentConfigs = []string{
	v1.MediaTypeEmptyJSON,
	"application/vnd.unknown.config.v1+json",
	"application/vnd.wasm.config.v1+json",
}

// Layer is a layer of an image that is a module.
type Layer struct {
	Digest    digest.Digest // valid
	Size      int64         // bytes; 1 to what NewImages was told
	MediaType string
	Title     string // the module's file name, if the image says it
	Image     string // the image's reference
}

// String names the layer in messages.
func (l *Layer) String() string {
	return fmt.Sprintf("layer %s of image %s", l.Digest, quote(l.Image))
}

// titled says whether file is the layer's name, for which it may be a path.
func (l *Layer) titled(file string) bool { return sameFile(l.Title, file) }

func sameFile(title, file string) bool {
	return title != "" && path.Join("/", title) == path.Join("/", file)
}

// Copy writes a layer's content to w. It is held in memory 1 MiB at a time, and
// its digest is verified on the way: after an error, what was written is not the
// module. ctx ends it early. Errors are of errdefs.
func (i *Images) Copy(ctx context.Context, l *Layer, w io.Writer) error {
	d := v1.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
	err := i.read(ctx, d, func(chunk []byte) error {
		_, err := w.Write(chunk)
		return err
	})
	if err != nil {
		return fmt.Errorf("%v: %w", l, i.explain(l.Image, err))
	}
	return nil
}

// wasm lists the manifest's Wasm layers.
func (m *manifest) wasm() ([]v1.Descriptor, error) {
	var layers []v1.Descriptor
	for _, l := range m.Layers {
		switch {
		case slices.Contains(wasmLayers, l.MediaType):
			layers = append(layers, l)
		case strings.Contains(strings.ToLower(l.MediaType), "wasm"):
			return nil, fmt.Errorf("layer %s is of the media type %s, which is not understood; these are: %s: %w",
				shown(l.Digest), quote(l.MediaType), strings.Join(wasmLayers, ", "), errdefs.ErrInvalidArgument)
		}
	}
	return layers, nil
}

// choose returns the layer that a command line with this first word means, nil
// where the module is a file.
//
// An artifact has one layer and no more, by the rule of the CNCF's working
// group. An image may have several Wasm layers: then the word must be the title
// of one, for layers have no order in which the first would be the program.
// runwasi takes no image with several modules.
func (m *manifest) choose(file string) (*Layer, error) {
	layers, err := m.wasm()
	if err != nil {
		return nil, err
	}
	if m.Config.MediaType == artifactConfig && (len(m.Layers) != 1 || len(layers) != 1) {
		return nil, fmt.Errorf("a Wasm artifact (configuration %s) has one layer, of the media type application/wasm, but this one has %s: %w",
			artifactConfig, list(m.Layers), errdefs.ErrInvalidArgument)
	}
	if len(layers) == 0 {
		return nil, nil
	}
	if len(layers) > 1 {
		named := slices.DeleteFunc(slices.Clone(layers), func(l v1.Descriptor) bool {
			return !sameFile(l.Annotations[v1.AnnotationTitle], file)
		})
		if len(named) != 1 {
			return nil, fmt.Errorf("%d Wasm layers (%s), of which %d have the name %s; name one of them as the first argument, by its annotation %s: %w",
				len(layers), list(layers), len(named), quote(file), v1.AnnotationTitle, errdefs.ErrInvalidArgument)
		}
		layers = named
	}
	l := layers[0]
	if err := l.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("layer %s: %w: %w", shown(l.Digest), err, errdefs.ErrInvalidArgument)
	}
	if l.Size < 1 {
		return nil, fmt.Errorf("layer %s has %d bytes, which no module has: %w", l.Digest, l.Size, errdefs.ErrInvalidArgument)
	}
	return &Layer{Digest: l.Digest, Size: l.Size, MediaType: l.MediaType, Title: l.Annotations[v1.AnnotationTitle]}, nil
}

// list names some layers in a message.
func list(layers []v1.Descriptor) string {
	const most = 5
	var names []string
	for _, l := range layers[:min(most, len(layers))] {
		name := fmt.Sprintf("%s of type %s", shown(l.Digest), quote(l.MediaType))
		if title := l.Annotations[v1.AnnotationTitle]; title != "" {
			name += " called " + quote(title)
		}
		names = append(names, name)
	}
	if len(layers) > most {
		names = append(names, fmt.Sprintf("and %d more", len(layers)-most))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, "; ")
}

// config is what the configurations say about a module, in all their types.
type config struct {
	OS           string          `json:"os"`
	Architecture string          `json:"architecture"`
	LayerDigests []string        `json:"layerDigests"`
	Component    json.RawMessage `json:"component"`
}

// hasConfig says whether the manifest's configuration is of a type that says
// something about the module.
func (m *manifest) hasConfig() (bool, error) {
	switch t := m.Config.MediaType; {
	case t == artifactConfig, t == v1.MediaTypeImageConfig, t == dockerConfig:
		return true, nil
	case slices.Contains(silentConfigs, t):
		return false, nil
	default:
		return false, fmt.Errorf("configuration %s is of the media type %s, which is not understood for an image with Wasm layers; use %s or %s: %w",
			shown(m.Config.Digest), quote(t), v1.MediaTypeImageConfig, artifactConfig, errdefs.ErrInvalidArgument)
	}
}

// check reads the manifest's configuration and says whether it is of a module of
// this world: WASI preview 1.
func (m *manifest) check(data []byte, l *Layer) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("configuration %s: %w: %w", m.Config.Digest, fmt.Errorf(format, args...), errdefs.ErrInvalidArgument)
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return refuse("not of the media type %s: %w", m.Config.MediaType, err)
	}
	if m.Config.MediaType == artifactConfig {
		if len(c.Component) > 0 && string(c.Component) != "null" {
			return refuse("it is of a component (WASI 0.2); this runtime runs core modules for WASI preview 1")
		}
		if len(c.LayerDigests) > 0 && (len(c.LayerDigests) != 1 || c.LayerDigests[0] != string(l.Digest)) {
			return refuse("layerDigests has %d entries, the first being %s, but the artifact's one layer is %s; make the artifact again",
				len(c.LayerDigests), quote(c.LayerDigests[0]), l.Digest)
		}
	}
	switch c.OS {
	case "wasip1", "wasi":
		if c.Architecture != "wasm" && c.Architecture != "" {
			return refuse("os %q with architecture %s; of WASI there is architecture \"wasm\" alone", c.OS, quote(c.Architecture))
		}
	case "linux", "": // A module is one whatever the image around it is for.
	default:
		return refuse("os is %s; this runtime runs modules for WASI preview 1 (\"wasip1\")", quote(c.OS))
	}
	return nil
}
