package form

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/rootfs"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
)

// Read takes the program out of an image, with other settings than the image's.
func Read(img v1.Image, settings Settings) (*Program, error) {
	f, err := Of(img)
	if err != nil {
		return nil, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	p := &Program{Annotations: manifest.Annotations, Created: time.Unix(0, 0)}
	if f != Artifact {
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("its configuration: %w", err)
		}
		p.Config = config.Config
		if created := config.Created.Time; created.Unix() > 0 {
			p.Created = created
		}
	}
	if f == Rootfs {
		p.base = img
		if err := p.apply(settings); err != nil {
			return nil, err
		}
		return p, p.readRootfs()
	}
	if err := p.readLayer(manifest.Layers[0], img); err != nil {
		return nil, err
	}
	return p, p.apply(settings)
}

// readLayer reads a module that is a layer.
func (p *Program) readLayer(layer v1.Descriptor, img v1.Image) error {
	if layer.Size > MaxModule {
		return fmt.Errorf("layer %s says that it has %d bytes; a module has at most %d", layer.Digest, layer.Size, MaxModule)
	}
	blob, err := img.LayerByDigest(layer.Digest)
	if err != nil {
		return err
	}
	content, err := blob.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	if p.Module, err = io.ReadAll(content); err != nil {
		return err
	}
	if err := engine.Recognise(p.Module); err != nil {
		return fmt.Errorf("layer %s %w", layer.Digest, err)
	}
	p.Name = fileName(layer.Annotations[titleAnnotation])
	if len(p.command()) == 0 {
		p.Config.Entrypoint = []string{"/" + p.Name}
	}
	return nil
}

// fileName makes a file name of a title, which may be anything.
func fileName(title string) string {
	name := path.Base(title)
	if !fs.ValidPath(name) || name == "." || strings.HasPrefix(name, ".wh.") || strings.ContainsAny(name, "#\x00") {
		return "app.wasm"
	}
	return name
}

// readRootfs finds the module in the image's layers.
func (p *Program) readRootfs() error {
	layers, err := p.base.Layers()
	if err != nil {
		return err
	}
	files, err := rootfs.Read(layers)
	if err != nil {
		return err
	}
	places, _, err := p.entry()
	if err != nil {
		return err
	}
	for _, place := range places {
		module, at, err := files.Open(place, MaxModule)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := engine.Recognise(module); err != nil {
			return fmt.Errorf("its entrypoint %s %w", place, err)
		}
		p.Module, p.Name = module, path.Base(at)
		p.rest = slices.DeleteFunc(files.List(), func(name string) bool { return name == at })
		return nil
	}
	return fmt.Errorf("its entrypoint %q is none of its files; it was looked for at %s", p.command()[0], strings.Join(places, ", "))
}
