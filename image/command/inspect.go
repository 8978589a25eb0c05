package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/place"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
)

// inspect says what is in a module or an image. That this runtime cannot run it
// is a finding, not an error.
func inspect(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	flags := flag.NewFlagSet("inspect", flag.ContinueOnError)
	given, err := parse(flags, args, progress, "PLACE|MODULE.wasm")
	if err != nil {
		return err
	}
	if path := given[0]; isFile(path) {
		file, function, _ := strings.Cut(path, "#")
		module, err := readModule(file)
		if err != nil {
			return err
		}
		var r report
		r.module(file, module, engine.Inspect(ctx, file, module, function), function)
		return r.print(out)
	}
	from, err := place.Parse(given[0], out, progress)
	if err != nil {
		return err
	}
	found, err := from.Read(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	var r report
	if err := r.images(ctx, found); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return r.print(out)
}

// isFile tells a module on this machine, perhaps with #FUNCTION, from a place.
func isFile(text string) bool {
	file, _, _ := strings.Cut(text, "#")
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() || strings.HasSuffix(file, ".wasm") && !strings.Contains(file, ":")
}

// readModule reads a file, of form.MaxModule at most.
func readModule(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, form.MaxModule+1))
	if err == nil && len(data) > form.MaxModule {
		err = fmt.Errorf("%s has more than %d bytes, which no module has", file, form.MaxModule)
	}
	return data, err
}

// images reports on what a place holds under one name.
func (r *report) images(ctx context.Context, found *place.Found) error {
	for _, img := range found.Images {
		if err := r.image(img); err != nil {
			return err
		}
	}
	if err := r.engines(found); err != nil {
		return err
	}
	img, err := oneOf(found.Images)
	if err != nil {
		r.line("module", "not looked at: "+err.Error())
		return nil
	}
	program, err := form.Read(img, form.Settings{})
	if err != nil {
		r.line("module", "none: "+err.Error())
		return nil
	}
	r.module(program.Name, program.Module, engine.Inspect(ctx, program.Name, program.Module, program.Function()), program.Function())
	return nil
}
