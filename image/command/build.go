package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/place"
)

// build makes an image of a module, and prints its digest.
func build(ctx context.Context, args []string, out, progress io.Writer) error {
	var w wanted
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	w.register(flags)
	given, err := parse(flags, args, progress, "MODULE.wasm", "PLACE")
	if err != nil {
		return err
	}
	file := given[0]
	to, err := place.Parse(given[1], out, progress)
	if err != nil {
		return err
	}
	module, err := readModule(file)
	if err != nil {
		return err
	}
	created, err := date()
	if err != nil {
		return err
	}
	program, err := form.New(file, module, created, w.settings)
	if err != nil {
		return err
	}
	if err := w.addFiles(program); err != nil {
		return err
	}
	if losses := program.Losses(w.form); len(losses) > 0 {
		return fmt.Errorf("an image of the form %s has no room for %s; use the form rootfs, or do without", w.form, strings.Join(losses, ", "))
	}
	return w.write(ctx, program, to, out, progress)
}

// write makes the image, puts it where it shall be and prints its digest.
func (w *wanted) write(ctx context.Context, program *form.Program, to place.Place, out, progress io.Writer) error {
	images, err := form.Make(program, w.form, w.platforms)
	if err != nil {
		return err
	}
	digest, err := to.Write(ctx, images)
	if err != nil {
		return err
	}
	if place.IsPipe(to) {
		out = progress
	}
	_, err = fmt.Fprintln(out, digest)
	return err
}
