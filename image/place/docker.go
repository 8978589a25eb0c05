package place

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
)

// dockerFile is where Docker's archives describe their images.
const dockerFile = "manifest.json"

// fromDocker reads an archive of `docker save` before version 25.
func fromDocker(f *os.File, s sections, image string) (v1.Image, error) {
	content, _, err := s.open(dockerFile)
	if err != nil {
		return nil, err
	}
	var described tarball.Manifest
	if err := json.NewDecoder(content).Decode(&described); err != nil {
		return nil, fmt.Errorf("%s: %w", dockerFile, err)
	}
	for _, d := range described {
		config, ok := s.at[path.Clean(d.Config)]
		if !ok || config.Size() > parts.MaxJSON {
			return nil, fmt.Errorf("%s names the configuration %q, which is missing or too big", dockerFile, d.Config)
		}
	}
	tag, err := chooseTag(described, image)
	if err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		return io.NopCloser(io.NewSectionReader(f, 0, info.Size())), nil
	}
	return tarball.Image(opener, tag)
}

// chooseTag finds the tag by which the archive calls the image of that name; nil
// where it has one image and no name was given.
func chooseTag(described tarball.Manifest, image string) (*name.Tag, error) {
	if image == "" && len(described) == 1 {
		return nil, nil
	}
	var names []string
	for _, d := range described {
		for _, text := range d.RepoTags {
			if names = append(names, text); full(text) == image {
				tag, err := name.NewTag(text)
				return &tag, err
			}
		}
	}
	if image == "" {
		return nil, fmt.Errorf("it holds several images; say which after an @: %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("it holds no image %s; it holds %s", image, strings.Join(names, ", "))
}

// forDocker describes an image for Docker's older image store, which knows tar
// layers and one platform; nil where that store could make nothing of it.
func forDocker(img v1.Image, image string) ([]byte, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	d := tarball.Descriptor{Config: blobs + manifest.Config.Digest.Hex, RepoTags: []string{image}}
	for _, l := range manifest.Layers {
		if !l.MediaType.IsLayer() {
			return nil, nil
		}
		d.Layers = append(d.Layers, blobs+l.Digest.Hex)
	}
	return json.Marshal(tarball.Manifest{d})
}
