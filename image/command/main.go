// Package command is the program wasm-image: it makes, converts and inspects
// images with a WebAssembly module.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `wasm-image makes container images with a WebAssembly module.

  wasm-image build   [flags] MODULE.wasm PLACE   make an image of a module
  wasm-image convert [flags] PLACE PLACE         make an image of another, in another form or place
  wasm-image inspect PLACE | MODULE.wasm[#FUNCTION]
                                                 say what is in it, and what runs it

A PLACE is one of these:

  oci:FOLDER[@NAME]   a folder of the OCI image layout
  tar:FILE[@NAME]     an archive for ctr image import and docker load; - is the standard output
  REFERENCE           an image in a registry, such as example.org/app:1

NAME is the name that the image has, or shall have, where the archive is loaded.
Registries ask for what docker login keeps; on loopback they are spoken to in
plain HTTP. The same files give the same digest: everything in an image is dated
1970, or SOURCE_DATE_EPOCH.

wasm-image COMMAND -h lists the flags.
`

// command is one of the program's commands: it reads its own flags and writes
// what it has to say to out and, what is no result, to progress.
type command func(ctx context.Context, args []string, out, progress io.Writer) error

var commands = map[string]command{"build": build, "convert": convert, "inspect": inspect}

// errUsage is an error that has been told already.
var errUsage = errors.New("usage")

// Main runs the program and returns its exit code: 1 for what failed, 2 for a
// command line that says nothing sensible.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends what can be ended cleanly, the next one the program.
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, out, messages io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(messages, usage)
		return 2
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(out, usage)
		return 0
	}
	name := args[0]
	do, ok := commands[name]
	if !ok {
		fmt.Fprintf(messages, "wasm-image: there is no command %q; there are build, convert and inspect\n", name)
		return 2
	}
	err := do(ctx, args[1:], out, messages)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case err != nil:
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(messages, "wasm-image %s: %s\n", name, harmless(strings.TrimSuffix(line, "\n")))
		}
		return 1
	}
	return 0
}

// parse reads flags wherever they stand among the arguments, of which there must
// be as many as names.
func parse(flags *flag.FlagSet, args []string, messages io.Writer, names ...string) ([]string, error) {
	flags.SetOutput(messages)
	flags.Usage = func() {}
	var given []string
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(messages, "usage: wasm-image %s [flags] %s\n\n", flags.Name(), strings.Join(names, " "))
			flags.PrintDefaults()
			return nil, err
		}
		if err != nil { // which the package has told
			fmt.Fprintf(messages, "wasm-image %s -h lists the flags\n", flags.Name())
			return nil, errUsage
		}
		if flags.NArg() == 0 {
			break
		}
		given = append(given, flags.Arg(0))
		args = flags.Args()[1:]
	}
	if len(given) != len(names) {
		fmt.Fprintf(messages, "wasm-image %s: %d arguments given, but it takes %s\n", flags.Name(), len(given), strings.Join(names, " and "))
		return nil, errUsage
	}
	return given, nil
}
