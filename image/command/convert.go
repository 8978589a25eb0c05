package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/place"
)

// convert makes an image of another, and prints its digest.
func convert(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	var w wanted
	flags := flag.NewFlagSet("convert", flag.ContinueOnError)
	w.register(flags)
	lossy := flags.Bool("lossy", false, "give up what the form has no room for")
	given, err := parse(flags, args, progress, "PLACE", "PLACE")
	if err != nil {
		return err
	}
	from, err := place.Parse(given[0], out, progress)
	if err != nil {
		return err
	}
	to, err := place.Parse(given[1], out, progress)
	if err != nil {
		return err
	}
	found, err := from.Read(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	img, err := oneOf(found.Images)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	program, err := form.Read(img, w.settings)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if err := w.addFiles(program); err != nil {
		return err
	}
	if losses := program.Losses(w.form); len(losses) > 0 {
		if !*lossy {
			return fmt.Errorf("%s: an image of the form %s has no room for %s; give them up with --lossy, or use the form rootfs",
				from, w.form, strings.Join(losses, ", "))
		}
		fmt.Fprintf(progress, "wasm-image convert: given up: %s\n", harmless(strings.Join(losses, ", ")))
	}
	return w.write(ctx, program, to, out, progress)
}

// oneOf returns an image of an index whose images are one program for several
// platforms: that of WebAssembly's if there is one.
func oneOf(images []v1.Image) (v1.Image, error) {
	var names []string
	same := true
	for _, img := range images {
		p, err := form.PlatformOf(img)
		if err != nil {
			return nil, err
		}
		if p.Architecture == "wasm" {
			return img, nil
		}
		digest, err := img.Digest()
		if err != nil {
			return nil, err
		}
		names = append(names, fmt.Sprintf("%s %s", p, digest))
		equal, err := sameLayers(images[0], img)
		if err != nil {
			return nil, err
		}
		same = same && equal
	}
	if len(images) == 0 {
		return nil, errors.New("its index holds no image")
	}
	if !same {
		return nil, fmt.Errorf("it holds different images: %s; give the digest of one after an @", strings.Join(names, ", "))
	}
	return images[0], nil
}

func sameLayers(a, b v1.Image) (bool, error) {
	one, err := a.Manifest()
	if err != nil {
		return false, err
	}
	other, err := b.Manifest()
	if err != nil {
		return false, err
	}
	return slices.EqualFunc(one.Layers, other.Layers, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest }), nil
}
