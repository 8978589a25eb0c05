package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	containersAPI "github.com/containerd/containerd/api/services/containers/v1"
	contentAPI "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// record is what containerd's record of a container says about its image.
type record struct {
	image     string // the reference; empty where the container has no image
	createdAt time.Time
	// kubernetes is what CRI has added; nil elsewhere.
	kubernetes *criImage
}

// criImage is what CRI notes of a container's image (containerd's
// internal/cri/store/container/metadata.go, in every version since 1.6).
//
// CRI calls images by the digest of their configuration. Where two artifacts
// have an equal one, CRI takes them for one image, and the reference in the
// container's record is that of whichever comes first in order of names. What
// the pod asked for is in UserSpecifiedImage, since containerd 2.0.
type criImage struct {
	ImageRef string // the digest of the configuration
	Config   struct {
		Image struct {
			UserSpecifiedImage string `json:"user_specified_image"`
		} `json:"image"`
	}
}

const criMetadata = "io.cri-containerd.container.metadata"

// record reads the record of a container. The error is NotFound where there is none.
func (i *Images) record(ctx context.Context, id string) (record, error) {
	response, err := i.containers.Get(i.in(ctx), &containersAPI.GetContainerRequest{ID: id})
	if err != nil {
		return record{}, errgrpc.ToNative(err)
	}
	c := response.GetContainer()
	r := record{image: c.GetImage(), createdAt: c.GetCreatedAt().AsTime()}
	if metadata := c.GetExtensions()[criMetadata]; metadata != nil {
		var versioned struct{ Metadata criImage }
		if err := json.Unmarshal(metadata.GetValue(), &versioned); err != nil {
			return record{}, fmt.Errorf("CRI's metadata: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		r.kubernetes = &versioned.Metadata
	}
	return r, nil
}

// layer finds the layer that is the module of a container; nil where its module
// is a file, and then note says why if the image could not be asked.
func (i *Images) layer(ctx context.Context, id, file string) (l *Layer, note string, err error) {
	r, err := i.record(ctx, id)
	switch {
	case errdefs.IsNotFound(err):
		return nil, "containerd has no record of the container, so layers of its image could not be looked at", nil
	case err != nil:
		return nil, "", fmt.Errorf("containerd's record of the container: %w", err)
	case r.image == "":
		return nil, "", nil
	}
	from, err := i.origin(ctx, r)
	if errdefs.IsNotFound(err) {
		// A container lives on when its image is removed; its files are its own.
		return nil, fmt.Sprintf("its image %s is not in containerd's image store any more, so layers of it could not be looked at", quote(r.image)), nil
	}
	if err != nil {
		return nil, "", err
	}
	if l, err = i.layerOf(ctx, from, file); err == nil && l != nil {
		err = from.doubt(ctx)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%v: %w", from.image, err)
	}
	return l, "", nil
}

// origin is what a container was created from.
type origin struct {
	image    image
	manifest *manifest
	// doubt says, by an error, whether it may have been another image. It matters
	// where code is taken from the image now; files were when the container was
	// created.
	doubt func(context.Context) error
}

// origin finds the container's image and manifest. The error is NotFound where
// the image's references are gone.
func (i *Images) origin(ctx context.Context, r record) (origin, error) {
	if r.kubernetes != nil {
		return i.criOrigin(ctx, r)
	}
	img, err := i.image(ctx, r.image)
	if err != nil {
		return origin{}, err
	}
	m, err := i.manifest(ctx, img, nil)
	if err == nil && m == nil {
		err = fmt.Errorf("%v: its index has no manifest of an image: %w", img, errdefs.ErrInvalidArgument)
	}
	return origin{img, m, func(ctx context.Context) error {
		if img.pinned || !img.updatedAt.After(r.createdAt) {
			return i.onlyChoice(ctx, img, m)
		}
		return fmt.Errorf("pulled or tagged at %s, after the container was created from it at %s, so whether it still is the same is not certain; create the container again: %w",
			img.updatedAt.Format(time.RFC3339Nano), r.createdAt.Format(time.RFC3339Nano), errdefs.ErrFailedPrecondition)
	}}, err
}

// onlyChoice fails where the image's index has another manifest for WASI beside m,
// with other Wasm layers: a client chooses one by its platform, but does not note
// which, and all of them are in the content store.
func (i *Images) onlyChoice(ctx context.Context, img image, m *manifest) error {
	s := search{
		images: i,
		accept: func(other manifest) bool { return !sameWasm(m, &other) },
		skip:   func(d v1.Descriptor) bool { return d.Digest == m.desc.Digest || !forWASI(d.Platform) },
	}
	other, err := s.walk(ctx, img.target, 1)
	if err != nil || other == nil {
		return err
	}
	return fmt.Errorf("its index has manifests for WASI with different modules, %s for %s and %s for %s, and engines do not tell which one the container is of; name one by its digest instead, NAME@DIGEST: %w",
		m.desc.Digest, platform(m.desc), other.desc.Digest, platform(other.desc), errdefs.ErrFailedPrecondition)
}

// platform names what a manifest of an index is for.
func platform(d v1.Descriptor) string {
	if d.Platform == nil {
		return "no platform"
	}
	return quote(d.Platform.OS + "/" + d.Platform.Architecture)
}

// criOrigin is origin for a container of CRI's: the image that the pod asks for
// by name, or else the one in the record, if it has the configuration that CRI
// calls the image by.
func (i *Images) criOrigin(ctx context.Context, r record) (origin, error) {
	names := []string{r.image}
	asked := r.kubernetes.Config.Image.UserSpecifiedImage
	if asked != "" {
		asked = canonical(asked)
		names = []string{asked, r.image}
	}
	known := false
	for _, name := range names {
		img, err := i.image(ctx, name)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return origin{}, err
		}
		known = true
		m, err := i.manifest(ctx, img, func(m manifest) bool { return string(m.Config.Digest) == r.kubernetes.ImageRef })
		if err != nil {
			return origin{}, err
		}
		if m != nil {
			return origin{img, m, func(ctx context.Context) error {
				if name == asked {
					return nil
				}
				return i.onlyOne(ctx, m)
			}}, nil
		}
	}
	if !known {
		return origin{}, errdefs.ErrNotFound
	}
	return origin{}, fmt.Errorf("image %s: it is not the image %s any more that the container was created from, but was pulled or tagged anew since; create the container again: %w",
		quote(r.image), quote(r.kubernetes.ImageRef), errdefs.ErrFailedPrecondition)
}

// onlyOne fails where the content store has a manifest with the configuration of
// m but other Wasm layers, for CRI cannot tell the two apart.
func (i *Images) onlyOne(ctx context.Context, m *manifest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// containerd keeps a configuration from garbage collection by a label of the
	// manifest; the second name is BuildKit's.
	var filters []string
	for _, child := range []string{"config", "0"} {
		filters = append(filters, fmt.Sprintf(`labels."containerd.io/gc.ref.content.%s"==%q`, child, m.Config.Digest))
	}
	stream, err := i.content.List(i.in(ctx), &contentAPI.ListContentRequest{Filters: filters})
	if err != nil {
		return errgrpc.ToNative(err)
	}
	for seen := 0; ; {
		response, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errgrpc.ToNative(err)
		}
		for _, info := range response.Info {
			other := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.Digest(info.Digest), Size: info.Size}
			if other.Digest == m.desc.Digest {
				continue
			}
			if seen++; seen > maxManifests || !i.hasSameWasm(ctx, other, m) {
				return fmt.Errorf("manifest %s has the same configuration, %s, and another module. Kubernetes calls images by the digest of their configuration, so it is not certain which of the two is meant; "+
					"give each a configuration of its own (that of a Wasm artifact has the layer's digest in layerDigests): %w",
					other.Digest, m.Config.Digest, errdefs.ErrFailedPrecondition)
			}
		}
	}
}

// hasSameWasm says whether another manifest is sure to have m's Wasm layers. One
// that has just been removed is no other.
func (i *Images) hasSameWasm(ctx context.Context, d v1.Descriptor, m *manifest) bool {
	data, err := i.blob(ctx, d, maxManifest)
	if err != nil {
		return errdefs.IsNotFound(err)
	}
	var other manifest
	if json.Unmarshal(data, &other.Manifest) != nil {
		return false
	}
	return sameWasm(m, &other)
}

// sameWasm says whether two manifests are sure to have the same Wasm layers.
func sameWasm(a, b *manifest) bool {
	ours, err := a.wasm()
	theirs, otherErr := b.wasm()
	return err == nil && otherErr == nil && slices.EqualFunc(ours, theirs, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
}

// layerOf finds the layer, and checks the configuration.
func (i *Images) layerOf(ctx context.Context, o origin, file string) (*Layer, error) {
	l, err := o.manifest.choose(file)
	if l == nil || err != nil {
		return nil, err
	}
	if l.Size > i.maxModule {
		return nil, fmt.Errorf("layer %s has %d bytes, more than the %d that a module may have: %w", l.Digest, l.Size, i.maxModule, errdefs.ErrInvalidArgument)
	}
	l.Image = o.image.name
	if says, err := o.manifest.hasConfig(); !says || err != nil {
		return l, err
	}
	data, err := i.blob(ctx, o.manifest.Config, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", shown(o.manifest.Config.Digest), i.explain(l.Image, err))
	}
	return l, o.manifest.check(data, l)
}

// canonical is a reference as CRI writes it into the image store, from what
// somebody typed: with a registry, and with a digest or else a tag. It is
// distribution/reference's ParseDockerRef for what that accepts.
func canonical(typed string) string {
	name, hash, byDigest := strings.Cut(typed, "@")
	host, rest, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" && strings.ToLower(host) == host {
		host, rest = "docker.io", name
	}
	if host == "index.docker.io" {
		host = "docker.io"
	}
	if host == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	colon := strings.LastIndex(rest, ":")
	tagged := colon > strings.LastIndex(rest, "/")
	switch {
	case byDigest && tagged:
		rest = rest[:colon] + "@" + hash
	case byDigest:
		rest += "@" + hash
	case !tagged:
		rest += ":latest"
	}
	return host + "/" + rest
}
