package form

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
)

// DefaultPlatform is what an image is for that nobody chose a platform for. A
// module runs on every CPU, and so does a single manifest in a rootfs form:
// where there is nothing to choose from, engines do not compare architectures.
// It says amd64, a name that everybody knows, and says so wherever it is built:
// the same files shall have the same digest.
func DefaultPlatform(f Form) v1.Platform {
	if f == Rootfs {
		return v1.Platform{OS: "linux", Architecture: "amd64"}
	}
	return v1.Platform{OS: "wasip1", Architecture: "wasm"}
}

// Make makes one image of the form for each platform, DefaultPlatform where
// there is none. Equal programs make equal images.
func Make(p *Program, f Form, platforms []v1.Platform) ([]v1.Image, error) {
	if len(platforms) == 0 {
		platforms = []v1.Platform{DefaultPlatform(f)}
	}
	maker := map[Form]func(*Program, v1.Platform) (v1.Image, error){
		Rootfs: (*Program).rootfs, Layer: (*Program).layer, Artifact: (*Program).artifact,
	}[f]
	var images []v1.Image
	for _, platform := range platforms {
		img, err := maker(p, platform)
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// Losses lists what the program has and an image of that form has no room for.
func (p *Program) Losses(f Form) []string {
	var losses []string
	lose := func(lost bool, format string, args ...any) {
		if lost {
			losses = append(losses, fmt.Sprintf(format, args...))
		}
	}
	if f == Rootfs {
		return nil
	}
	lose(len(p.rest) == 1, "the file %s", strings.Join(p.rest, ""))
	lose(len(p.rest) > 1, "%d files, such as %s", len(p.rest), strings.Join(p.rest[:min(3, len(p.rest))], ", "))
	lose(!p.Add.Empty(), "added files")
	if f == Layer {
		return losses
	}
	c := p.Config
	command := p.command()
	lose(p.Function() != "", "the function %s", p.Function())
	lose(len(command) > 1, "the arguments %q", command[1:])
	// An entrypoint is found along PATH, and Docker's builder always sets it.
	env := slices.DeleteFunc(slices.Clone(c.Env), func(v string) bool { return strings.HasPrefix(v, "PATH=") })
	lose(len(env) > 0, "the environment %q", env)
	lose(c.WorkingDir != "" && c.WorkingDir != "/", "the working directory %s", c.WorkingDir)
	lose(c.User != "", "the user %s", c.User)
	lose(len(c.Labels) > 0, "labels (give them as annotations)")
	lose(len(c.ExposedPorts) > 0, "exposed ports")
	lose(len(c.Volumes) > 0, "volumes")
	lose(c.StopSignal != "", "the stop signal %s", c.StopSignal)
	lose(c.Healthcheck != nil, "the health check")
	return losses
}

// rootfs makes the image anew, or of the layers that the program came in.
func (p *Program) rootfs(platform v1.Platform) (v1.Image, error) {
	config := &v1.ConfigFile{Created: date(p.Created), RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}}
	var layers []*parts.Blob
	tree := &p.Add
	if p.base == nil {
		places, _, err := p.entry()
		if err != nil {
			return nil, err
		}
		tree = p.Add.Clone()
		if err := tree.Data(places[len(places)-1], p.Module, 0o755); err != nil {
			return nil, fmt.Errorf("the module: %w; --entrypoint says where it shall be", err)
		}
	} else {
		var err error
		if config, layers, err = fromBase(p.base); err != nil {
			return nil, err
		}
	}
	if !tree.Empty() {
		layer, diffID, err := tree.Layer(p.Created)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		config.History = append(config.History, v1.History{Created: date(p.Created), CreatedBy: "wasm-image"})
	}
	return p.container(config, platform, layers)
}

// fromBase takes over the layers of an image.
func fromBase(base v1.Image) (*v1.ConfigFile, []*parts.Blob, error) {
	config, err := base.ConfigFile()
	if err != nil {
		return nil, nil, err
	}
	manifest, err := base.Manifest()
	if err != nil {
		return nil, nil, err
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return nil, nil, fmt.Errorf("it has %d layers, but its configuration lists %d diff_ids", len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	var layers []*parts.Blob
	for _, d := range manifest.Layers {
		layer, err := base.LayerByDigest(d.Digest)
		if err != nil {
			return nil, nil, err
		}
		if oci, ok := ociTypes[d.MediaType]; ok {
			d.MediaType = oci
		}
		layers = append(layers, &parts.Blob{Descriptor: d, Open: layer.Compressed})
	}
	return config.DeepCopy(), layers, nil
}

// ociTypes are the OCI's names of Docker's media types.
var ociTypes = map[types.MediaType]types.MediaType{
	types.DockerLayer:             types.OCILayer,
	types.DockerUncompressedLayer: types.OCIUncompressedLayer,
}

// layer makes the module the one layer. diff_ids are what is unpacked, so there
// are none: containerd compares their number with that of the layers it knows
// how to unpack.
func (p *Program) layer(platform v1.Platform) (v1.Image, error) {
	config := &v1.ConfigFile{Created: date(p.Created), RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}}
	return p.container(config, platform, []*parts.Blob{p.moduleLayer()})
}

// container makes an image with a container's configuration.
func (p *Program) container(config *v1.ConfigFile, platform v1.Platform, layers []*parts.Blob) (v1.Image, error) {
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.OSVersion, config.OSFeatures = platform.OSVersion, platform.OSFeatures
	config.Config = p.Config
	return image(types.OCIConfigJSON, config, layers, p.Annotations)
}

// artifact makes the CNCF's artifact. layerDigests make the configuration, and
// with it the id by which CRI knows an image, differ from module to module.
func (p *Program) artifact(platform v1.Platform) (v1.Image, error) {
	layer := p.moduleLayer()
	config := struct {
		Created      v1.Time   `json:"created"`
		Architecture string    `json:"architecture"`
		OS           string    `json:"os"`
		LayerDigests []v1.Hash `json:"layerDigests"`
	}{date(p.Created), platform.Architecture, platform.OS, []v1.Hash{layer.Descriptor.Digest}}
	return image(artifactConfig, config, []*parts.Blob{layer}, p.Annotations)
}

func (p *Program) moduleLayer() *parts.Blob {
	layer := parts.Bytes(wasmLayer, p.Module)
	layer.Annotations = map[string]string{titleAnnotation: p.Name}
	return layer
}

func image(configType types.MediaType, config any, layers []*parts.Blob, annotations map[string]string) (v1.Image, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	return parts.New(parts.Bytes(configType, data), layers, annotations)
}

func date(t time.Time) v1.Time { return v1.Time{Time: t.UTC()} }
