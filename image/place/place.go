// Package place reads and writes images where they are kept: in folders of the
// OCI image layout, in archives that container engines load, in registries.
package place

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Place is where an image is, or shall be.
type Place interface {
	// Read finds what is there. The caller closes it when it is through with the
	// images, which read their blobs from the place when asked for them.
	Read(context.Context) (*Found, error)
	// Write puts images there, as an index if there are several, and returns the
	// digest. An image of the same name is replaced.
	Write(context.Context, []v1.Image) (v1.Hash, error)
	// String is what Parse read.
	String() string
}

// Found is an image as a place has it.
type Found struct {
	// Images are one, or those of an index. What indexes hold besides images, such
	// as attestations, is passed over.
	Images []v1.Image
	// Index says that there is an index, be it of one image: then engines look for
	// their platform in it.
	Index bool

	io.Closer
}

// Parse reads
//
//	oci:FOLDER[@NAME]
//	tar:FILE[@NAME]
//	REFERENCE
//
// where NAME is an image's reference, or for reading a digest, within the folder
// or archive. A reference by itself is one in a registry. The FILE - is out; the
// progress of long uploads is told to progress.
func Parse(text string, out, progress io.Writer) (Place, error) {
	kind, rest, _ := strings.Cut(text, ":")
	if kind != "oci" && kind != "tar" {
		ref, err := name.ParseReference(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither oci:FOLDER, nor tar:FILE, nor the reference of an image in a registry: %w", text, err)
		}
		return registry{ref, progress}, nil
	}
	path, image := split(rest)
	if path == "" {
		return nil, fmt.Errorf("%q names no file; write %s:PATH", text, kind)
	}
	image, err := fullName(image)
	if err != nil {
		return nil, fmt.Errorf("%q: after the @ there must be the name of an image, such as example.org/app:1: %w", text, err)
	}
	if kind == "oci" {
		return layout{path, image, text}, nil
	}
	return archive{path, image, text, out}, nil
}

// IsPipe says whether the place is what was given to Parse as out, so that
// nothing else must be written there.
func IsPipe(p Place) bool {
	a, ok := p.(archive)
	return ok && a.file == pipe
}

// split cuts at the first @, unless that is part of the name of a file.
func split(text string) (path, image string) {
	if _, err := os.Stat(text); err == nil {
		return text, ""
	}
	path, image, _ = strings.Cut(text, "@")
	return path, image
}

// fullName makes of a name the one that engines know the image by: with its
// registry and tag. A digest stays one.
func fullName(image string) (string, error) {
	if image == "" {
		return "", nil
	}
	if isDigest(image) {
		return image, nil
	}
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", err
	}
	// Docker's registry has an old name that Docker itself does not use.
	if rest, ok := strings.CutPrefix(ref.Name(), name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest, nil
	}
	return ref.Name(), nil
}

func isDigest(text string) bool {
	_, err := v1.NewHash(text)
	return err == nil
}

// index makes an index of images, with the platforms of their configurations.
func index(images []v1.Image) (v1.ImageIndex, error) {
	all := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, img := range images {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: config.Platform()}})
	}
	return all, nil
}
