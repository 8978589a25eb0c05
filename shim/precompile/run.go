package precompile

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/layer"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
)

// command is one run of it.
type command struct {
	address, namespace string
	options            options.Options
	images             *oci.Images
}

// run goes on with the next image where one fails, but not where there is no
// containerd, nor after a signal.
func (c *command) run(ctx context.Context, names []string) error {
	failed := 0
	sizes := map[string]int64{} // by the module's digest
	for _, name := range names {
		began := time.Now()
		p, err := c.one(ctx, name)
		switch {
		case ctx.Err() != nil && err != nil:
			return fmt.Errorf("image %q: %w", name, context.Cause(ctx))
		case errdefs.IsUnavailable(err):
			return fmt.Errorf("containerd does not answer at %s; it has to run, and -address names its socket: %w", c.address, err)
		case err != nil:
			failed++
			fail(err)
		case p.Made:
			fmt.Printf("%s: %s %s: compiled in %.1f s, %s\n", name, p.Name, p.Digest, time.Since(began).Seconds(), units.HumanSize(float64(p.Size)))
		default:
			fmt.Printf("%s: %s %s: was compiled already\n", name, p.Name, p.Digest)
		}
		if err == nil {
			sizes[p.Digest] = p.Size
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d images failed", failed, len(names))
	}
	var all int64
	for _, size := range sizes {
		all += size
	}
	if _, limit := c.options.Cache(); all > limit {
		return fmt.Errorf("the modules have %s together, so those that were compiled first had to make room again: raise the runtime's option CacheSize, which is %s, above that",
			units.BytesSize(float64(all)), units.BytesSize(float64(limit)))
	}
	return nil
}

// one has the module of one image compiled. Errors name the image.
func (c *command) one(ctx context.Context, name string) (p sandbox.Precompiled, err error) {
	image, err := c.images.Image(ctx, name)
	if errdefs.IsNotFound(err) {
		return p, fmt.Errorf("image %q is not in containerd's namespace %q: pull it there by the whole of this reference, or name another namespace by -namespace", name, c.namespace)
	}
	if err != nil {
		return p, err
	}
	working := progress{name: name}
	defer working.end()
	cfg := sandbox.Config{
		Module:         sandbox.Module{Paths: image.Module.Paths, Args: image.Module.Args},
		CompileTimeout: c.options.CompileLimit(),
		Compiling:      func(int) error { working.begin(); return nil },
		Warn:           func(err error) { fail(fmt.Errorf("%v: %w", image, err)) },
	}
	cfg.CacheDir, cfg.CacheSize = c.options.Cache()
	var root *os.File
	if l := image.Module.Layer; l != nil {
		cfg.Module.Name, cfg.Layer = l.String(), layer.Of(c.images, l, cfg.CacheDir)
	} else {
		var remove func() error
		if root, remove, err = open(ctx, c.images, image); err != nil {
			return p, fmt.Errorf("%v: %w", image, err)
		}
		defer func() { err = joined(err, remove()) }()
		defer root.Close()
	}
	if p, err = sandbox.Precompile(ctx, root, cfg); err != nil {
		return p, fmt.Errorf("%v: %w", image, err)
	}
	return p, nil
}
