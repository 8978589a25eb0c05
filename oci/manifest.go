package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds of what is read of an image, in bytes; of how deep its indexes may
// nest; and of how many indexes and manifests are looked for.
const (
	maxManifest  = 4 << 20
	maxConfig    = 8 << 20
	maxDepth     = 3
	maxManifests = 100
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// manifest is a manifest of an image.
type manifest struct {
	v1.Manifest
	desc v1.Descriptor
}

// search looks for a manifest in what an image's name points to.
type search struct {
	images *Images
	// accept takes a manifest or goes on; nil takes the first.
	accept func(manifest) bool
	// skip passes manifests over that are not even to be looked for.
	skip func(v1.Descriptor) bool
	// seen counts the indexes and manifests that were looked for; missing has the
	// first of them that is not in the content store; read says that some manifest is.
	seen    int
	missing *v1.Descriptor
	read    bool
}

// manifest finds the image's manifest: the first that is accepted, by order of
// rank. Of an index, a client has fetched and unpacked the manifests that it
// wanted, so those that are not in the content store are passed over.
func (i *Images) manifest(ctx context.Context, img image, accept func(manifest) bool) (*manifest, error) {
	s := search{images: i, accept: accept}
	m, err := s.walk(ctx, img.target, 1)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%v: %w", img, i.explain(img.name, err))
	case m == nil && !s.read && s.missing != nil:
		return nil, fmt.Errorf("%v: %s of the media type %s: %w",
			img, shown(s.missing.Digest), quote(s.missing.MediaType), i.explain(img.name, errdefs.ErrNotFound))
	}
	return m, nil
}

// walk returns the first manifest that is accepted in what d points to, nil where
// there is none.
func (s *search) walk(ctx context.Context, d v1.Descriptor, depth int) (*manifest, error) {
	index := isIndex(d.MediaType)
	if !index && !isManifest(d.MediaType) {
		if depth == 1 {
			return nil, fmt.Errorf("media type %s is neither an image's manifest nor an index: %w", quote(d.MediaType), errdefs.ErrInvalidArgument)
		}
		return nil, nil // indexes hold what they like
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("index %s is nested deeper than %d: %w", shown(d.Digest), maxDepth, errdefs.ErrInvalidArgument)
	}
	if s.skip != nil && !index && s.skip(d) {
		return nil, nil
	}
	if s.seen++; s.seen > maxManifests {
		return nil, fmt.Errorf("none of the first %d manifests of its index will do: %w", maxManifests, errdefs.ErrInvalidArgument)
	}
	data, err := s.images.blob(ctx, d, maxManifest)
	if errdefs.IsNotFound(err) {
		if s.missing == nil {
			s.missing = &d
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", shown(d.Digest), err)
	}
	if !index {
		s.read = true
		m, err := parseManifest(d, data)
		if err != nil || s.accept != nil && !s.accept(*m) {
			return nil, err
		}
		return m, nil
	}
	children, err := parseIndex(d, data)
	if err != nil {
		return nil, err
	}
	for _, child := range children {
		if m, err := s.walk(ctx, child, depth+1); m != nil || err != nil {
			return m, err
		}
	}
	return nil, nil
}

func isManifest(mediaType string) bool {
	return mediaType == v1.MediaTypeImageManifest || mediaType == dockerManifest
}

func isIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == dockerIndex
}

// parseManifest reads the manifest that d describes.
func parseManifest(d v1.Descriptor, data []byte) (*manifest, error) {
	m := manifest{desc: d}
	if err := parse(d, data, &m.Manifest, "manifests"); err != nil {
		return nil, err
	}
	return &m, nil
}

// parseIndex reads the index that d describes, and returns what it points to in
// the order in which it is to be looked at.
func parseIndex(d v1.Descriptor, data []byte) ([]v1.Descriptor, error) {
	var index v1.Index
	if err := parse(d, data, &index, "config", "layers"); err != nil {
		return nil, err
	}
	// Attestations and the like.
	manifests := slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool {
		return d.Platform != nil && (d.Platform.OS == "unknown" || d.Platform.Architecture == "unknown")
	})
	slices.SortStableFunc(manifests, func(a, b v1.Descriptor) int {
		return cmp.Compare(rank(a.Platform), rank(b.Platform))
	})
	return manifests, nil
}

// rank orders the platforms of an index: those that are made for us, then what a
// client pulls where nobody tells it what to, then the rest.
func rank(p *v1.Platform) int {
	switch {
	case p == nil:
		return 3
	case p.OS == "wasip1" && p.Architecture == "wasm":
		return 0
	case p.OS == "wasi" && p.Architecture == "wasm":
		return 1
	case p.OS == "linux" && p.Architecture == runtime.GOARCH:
		return 2
	}
	return 4
}

// forWASI says whether a platform is WASI's, by either name.
func forWASI(p *v1.Platform) bool {
	return p != nil && (p.OS == "wasip1" || p.OS == "wasi") && p.Architecture == "wasm"
}

// parse reads a document that must be of the kind that its descriptor says, and
// must not have the members of the other: one digest must not be two things,
// depending on who reads it.
func parse(d v1.Descriptor, data []byte, into any, foreign ...string) error {
	var members map[string]json.RawMessage
	err := json.Unmarshal(data, &members)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("%s is not of the media type %s: %w: %w", d.Digest, d.MediaType, err, errdefs.ErrInvalidArgument)
	}
	for name, value := range members {
		switch {
		case strings.EqualFold(name, "mediaType"):
			var own string
			json.Unmarshal(value, &own)
			if own != "" && (isIndex(own) != isIndex(d.MediaType) || isManifest(own) != isManifest(d.MediaType)) {
				return fmt.Errorf("%s is of the media type %s where it is referred to, but calls itself %s: %w",
					d.Digest, d.MediaType, quote(own), errdefs.ErrInvalidArgument)
			}
		case slices.ContainsFunc(foreign, func(f string) bool { return strings.EqualFold(f, name) }):
			return fmt.Errorf("%s is of the media type %s, but has the member %s of another: %w",
				d.Digest, d.MediaType, quote(name), errdefs.ErrInvalidArgument)
		}
	}
	return nil
}
