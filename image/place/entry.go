package place

import (
	"encoding/json"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
)

// entry is an entry of index.json and all the blobs that belong to it, each once.
type entry struct {
	descriptor v1.Descriptor
	blobs      []*parts.Blob
}

// newEntry collects what is to be written. The descriptor has no platform:
// engines would pass over an image that is for another CPU than their own.
func newEntry(images []v1.Image, name string) (entry, error) {
	var e entry
	seen := map[v1.Hash]bool{}
	add := func(b *parts.Blob) {
		if !seen[b.Descriptor.Digest] {
			seen[b.Descriptor.Digest] = true
			e.blobs = append(e.blobs, b)
		}
	}
	for _, img := range images {
		root, err := addImage(img, add)
		if err != nil {
			return entry{}, err
		}
		e.descriptor = root
	}
	if len(images) > 1 {
		all, err := index(images)
		if err != nil {
			return entry{}, err
		}
		data, err := all.RawManifest()
		if err != nil {
			return entry{}, err
		}
		root := parts.Bytes(types.OCIImageIndex, data)
		add(root)
		e.descriptor = root.Descriptor
	}
	if name != "" {
		e.descriptor.Annotations = map[string]string{nameAnnotation: name, refAnnotation: name}
	}
	return e, nil
}

// addImage adds an image's layers, configuration and manifest.
func addImage(img v1.Image, add func(*parts.Blob)) (v1.Descriptor, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, d := range manifest.Layers {
		layer, err := img.LayerByDigest(d.Digest)
		if err != nil {
			return v1.Descriptor{}, err
		}
		add(&parts.Blob{Descriptor: d, Open: layer.Compressed})
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return v1.Descriptor{}, err
	}
	add(parts.Bytes(manifest.Config.MediaType, config))
	raw, err := img.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	mediaType, err := img.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	root := parts.Bytes(mediaType, raw)
	add(root)
	return root.Descriptor, nil
}

// withEntry is index.json with a further entry, in the place of one of its name.
func withEntry(old []v1.Descriptor, e entry) ([]byte, error) {
	name := full(nameOf(e.descriptor))
	kept := slices.DeleteFunc(slices.Clone(old), func(d v1.Descriptor) bool { return full(nameOf(d)) == name })
	return json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests:     append(kept, e.descriptor),
	})
}
