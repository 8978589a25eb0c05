// Package parts makes images of go-containerregistry's kind out of a manifest,
// a configuration and layers, byte for byte as they are: nothing is added to
// them, and nothing normalised, so that a digest is what its maker meant.
package parts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// MaxJSON bounds, in bytes, a manifest, an index or a configuration, which are
// held in memory: 4 MiB, what registries take at most.
const MaxJSON = 4 << 20

// Blob is content with its descriptor. It is a partial.CompressedLayer.
type Blob struct {
	v1.Descriptor
	// Open gives the content; the caller closes it. It may be called again.
	Open func() (io.ReadCloser, error)
}

func (b *Blob) Digest() (v1.Hash, error)            { return b.Descriptor.Digest, nil }
func (b *Blob) Size() (int64, error)                { return b.Descriptor.Size, nil }
func (b *Blob) MediaType() (types.MediaType, error) { return b.Descriptor.MediaType, nil }

// Compressed is the content, verified: a Read that reaches its end returns an
// error where size or digest are not the descriptor's.
func (b *Blob) Compressed() (io.ReadCloser, error) {
	content, err := b.Open()
	if err != nil {
		return nil, err
	}
	return &verified{ReadCloser: content, blob: b, left: b.Descriptor.Size, sum: sha256.New()}, nil
}

// Bytes makes a blob of data.
func Bytes(mediaType types.MediaType, data []byte) *Blob {
	sum := sha256.Sum256(data)
	return &Blob{
		Descriptor: v1.Descriptor{
			MediaType: mediaType,
			Size:      int64(len(data)),
			Digest:    v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])},
		},
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

// JSON reads a blob that is a document, of MaxJSON at most.
func (b *Blob) JSON() ([]byte, error) {
	if b.Descriptor.Size > MaxJSON {
		return nil, fmt.Errorf("%s, a %s, says that it has %d bytes; at most %d are read",
			b.Descriptor.Digest, b.Descriptor.MediaType, b.Descriptor.Size, MaxJSON)
	}
	content, err := b.Compressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return io.ReadAll(content)
}

// verified reads a blob and compares it with its descriptor.
type verified struct {
	io.ReadCloser
	blob *Blob
	left int64
	sum  hash.Hash
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.left -= int64(n)
	v.sum.Write(p[:n])
	d := v.blob.Descriptor
	switch {
	case v.left < 0 || err == io.EOF && v.left > 0:
		return n, fmt.Errorf("blob %s has not the %d bytes that its descriptor says", d.Digest, d.Size)
	case err == io.EOF && hex.EncodeToString(v.sum.Sum(nil)) != d.Digest.Hex:
		return n, fmt.Errorf("blob %s is damaged: its content has another digest", d.Digest)
	}
	return n, err
}

// New makes an image of a configuration and layers.
func New(config *Blob, layers []*Blob, annotations map[string]string) (v1.Image, error) {
	manifest := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        config.Descriptor,
		Layers:        []v1.Descriptor{},
		Annotations:   annotations,
	}
	blobs := map[v1.Hash]*Blob{config.Descriptor.Digest: config}
	for _, l := range layers {
		manifest.Layers = append(manifest.Layers, l.Descriptor)
		blobs[l.Descriptor.Digest] = l
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	return Read(Bytes(manifest.MediaType, data), func(d v1.Descriptor) (io.ReadCloser, error) {
		return blobs[d.Digest].Open()
	})
}

// Read makes an image of a manifest whose blobs open gives.
func Read(manifest *Blob, open func(v1.Descriptor) (io.ReadCloser, error)) (v1.Image, error) {
	data, err := manifest.JSON()
	if err != nil {
		return nil, err
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", manifest.Descriptor.Digest, err)
	}
	core := &image{manifest: data, parsed: parsed, mediaType: manifest.Descriptor.MediaType, open: open}
	return partial.CompressedToImage(core)
}

// image is a partial.CompressedImageCore.
type image struct {
	manifest  []byte
	parsed    *v1.Manifest
	mediaType types.MediaType
	open      func(v1.Descriptor) (io.ReadCloser, error)
}

func (i *image) RawManifest() ([]byte, error)        { return i.manifest, nil }
func (i *image) MediaType() (types.MediaType, error) { return i.mediaType, nil }
func (i *image) RawConfigFile() ([]byte, error)      { return i.blob(i.parsed.Config).JSON() }

func (i *image) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	if digest == i.parsed.Config.Digest {
		return i.blob(i.parsed.Config), nil
	}
	for _, d := range i.parsed.Layers {
		if d.Digest == digest {
			return i.blob(d), nil
		}
	}
	return nil, fmt.Errorf("the manifest has no layer %s", digest)
}

func (i *image) blob(d v1.Descriptor) *Blob {
	return &Blob{Descriptor: d, Open: func() (io.ReadCloser, error) { return i.open(d) }}
}
