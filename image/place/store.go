package place

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
)

// visits counts what is looked at in an index that somebody else made, and in the
// indexes in it.
type visits int

// one counts a further entry, of an index at that depth; the first is at 1.
func (v *visits) one(depth int) error {
	const most, deepest = 200, 3
	if *v++; *v > most || depth > deepest {
		return fmt.Errorf("its index has more than %d entries, or indexes nested deeper than %d", most, deepest)
	}
	return nil
}

// The names of an image layout (OCI image specification, image-layout.md).
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	blobs      = "blobs/sha256/"

	layoutContent = `{"imageLayoutVersion":"1.0.0"}`
)

// Annotations of index.json that name an image: containerd's importer reads the
// first, the specification has the second, whose grammar allows no whole
// reference; many tools write one there all the same.
const (
	nameAnnotation = "io.containerd.image.name"
	refAnnotation  = "org.opencontainers.image.ref.name"
)

// store is an image layout that is read, in a folder or in an archive.
type store interface {
	// open opens a file of the layout; the error is fs.ErrNotExist where there is
	// none.
	open(name string) (content io.ReadCloser, size int64, err error)
}

// find finds the image in a layout that has a name or a digest; where that is
// empty, the one that there is.
func find(s store, name string) (*Found, error) {
	entries, err := entries(s)
	if err != nil {
		return nil, err
	}
	var named []v1.Descriptor
	var names []string
	for _, d := range entries {
		names = append(names, nameOf(d))
		if name == "" || name == d.Digest.String() || name == full(nameOf(d)) {
			named = append(named, d)
		}
	}
	switch {
	case len(entries) == 0:
		return nil, errors.New("it holds no image")
	case len(named) == 0 && isDigest(name):
		return findNested(s, entries, name)
	case len(named) == 0:
		return nil, fmt.Errorf("it holds no image %s; it holds %s", name, strings.Join(names, ", "))
	case len(named) > 1 && name == "":
		return nil, fmt.Errorf("it holds several images; say which after an @: %s", strings.Join(names, ", "))
	}
	images, err := images(s, named[:1], 0, new(visits))
	return &Found{Images: images, Index: named[0].MediaType.IsIndex()}, err
}

// findNested finds one image of an index by its digest.
func findNested(s store, entries []v1.Descriptor, digest string) (*Found, error) {
	all, err := images(s, entries, 0, new(visits))
	if err != nil {
		return nil, err
	}
	for _, img := range all {
		d, err := img.Digest()
		if err != nil {
			return nil, err
		}
		if d.String() == digest {
			return &Found{Images: []v1.Image{img}}, nil
		}
	}
	return nil, fmt.Errorf("it holds no image %s", digest)
}

// nameOf is what one of index.json's entries is called, else its digest.
func nameOf(d v1.Descriptor) string {
	return cmp.Or(d.Annotations[nameAnnotation], d.Annotations[refAnnotation], d.Digest.String())
}

// full is the full name where a name is one.
func full(name string) string {
	if full, err := fullName(name); err == nil {
		return full
	}
	return name
}

// entries reads index.json.
func entries(s store) ([]v1.Descriptor, error) {
	content, size, err := s.open(indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it is no OCI image layout: there is no %s", indexFile)
	}
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if size > parts.MaxJSON {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", indexFile, size, parts.MaxJSON)
	}
	data, err := io.ReadAll(io.LimitReader(content, parts.MaxJSON))
	if err != nil {
		return nil, err
	}
	return parseIndex(data, indexFile)
}

func parseIndex(data []byte, name string) ([]v1.Descriptor, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return index.Manifests, nil
}

// images reads the manifests that descriptors name, through nested indexes.
func images(s store, descriptors []v1.Descriptor, depth int, seen *visits) ([]v1.Image, error) {
	var all []v1.Image
	for _, d := range descriptors {
		if err := seen.one(depth); err != nil {
			return nil, err
		}
		blob := &parts.Blob{Descriptor: d, Open: func() (io.ReadCloser, error) { return open(s, d) }}
		switch {
		case d.MediaType.IsImage() && !isAttestation(d):
			img, err := parts.Read(blob, func(d v1.Descriptor) (io.ReadCloser, error) { return open(s, d) })
			if err != nil {
				return nil, err
			}
			all = append(all, img)
		case d.MediaType.IsIndex():
			data, err := blob.JSON()
			if err != nil {
				return nil, err
			}
			nested, err := parseIndex(data, d.Digest.String())
			if err != nil {
				return nil, err
			}
			more, err := images(s, nested, depth+1, seen)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	if len(all) == 0 && depth == 0 {
		return nil, fmt.Errorf("%s is not an image but a %q", nameOf(descriptors[0]), descriptors[0].MediaType)
	}
	return all, nil
}

// isAttestation tells what Docker's builder adds to its images.
func isAttestation(d v1.Descriptor) bool {
	return d.Platform != nil && d.Platform.OS == "unknown"
}

// open opens a blob of the layout.
func open(s store, d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" {
		return nil, fmt.Errorf("%s: only digests by sha256 are understood", d.Digest)
	}
	content, size, err := s.open(blobs + d.Digest.Hex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s, a %s, is missing", d.Digest, d.MediaType)
	}
	if err != nil {
		return nil, err
	}
	if size != d.Size {
		content.Close()
		return nil, fmt.Errorf("blob %s has %d bytes, not the %d that its descriptor says", d.Digest, size, d.Size)
	}
	return content, nil
}
