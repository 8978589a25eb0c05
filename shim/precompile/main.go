// Package precompile is the command that fills the cache of compiled modules
// before the first containers come.
package precompile

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
)

const usage = `Usage: containerd-shim-wasm-v1 precompile [flags] IMAGE...

Compiles the modules of images that are in containerd already, so that their
first containers find them compiled. IMAGE is a whole reference, as ctr image ls
prints it.

  -address SOCKET   containerd's; otherwise $CONTAINERD_ADDRESS,
                    or /run/containerd/containerd.sock
  -namespace NAME   containerd's namespace with the images; otherwise
                    $CONTAINERD_NAMESPACE, or default. Kubernetes' is k8s.io
  -config FILE      the runtime's options as TOML, as ctr run
                    --runtime-config-path takes them; CacheDir, CacheSize and
                    CompileTimeout count

Each image's outcome is a line. The exit status is 1 if any failed.
`

// Main runs the command with the arguments after its name, and returns the
// program's exit status: 1 if any image failed.
func Main(args []string) int {
	flags := flag.NewFlagSet("precompile", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	c := command{}
	// The variables are those of ctr.
	flags.StringVar(&c.address, "address", cmp.Or(os.Getenv("CONTAINERD_ADDRESS"), "/run/containerd/containerd.sock"), "")
	flags.StringVar(&c.namespace, "namespace", cmp.Or(os.Getenv("CONTAINERD_NAMESPACE"), "default"), "")
	config := flags.String("config", "", "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(usage)
		return 0
	case err == nil && flags.NArg() == 0:
		err = errors.New("no image is named")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "precompile: %v\n%s", err, usage)
		return 1
	}
	if *config != "" {
		if c.options, err = options.FromFile("-config", *config); err != nil {
			return fail(err)
		}
	}
	if c.images, err = oci.NewImages(c.address, c.namespace, sandbox.MaxModule); err != nil {
		return fail(err)
	}
	defer c.images.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := c.run(ctx, flags.Args()); err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintf(os.Stderr, "precompile: %v\n", err)
	return 1
}
