// Package bootstrap is the shim's program as containerd calls it: `start` brings
// up the daemon that serves a pod, or finds the one that already does; `delete`
// cleans up after a container; -info says what the runtime can do; and with no
// action the program is that daemon.
package bootstrap

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/precompile"
	"github.com/containerd/containerd/v2/pkg/shim"
)

// runtimeName is what containerd and its clients call this runtime.
const runtimeName = "io.containerd.wasm.v1"

// Main runs the program and returns its exit status.
//
// `start` is taken before containerd's shim library, which since containerd 2.3
// refuses the input of every older daemon and of CRI-O. `delete`, -info and the
// daemon are the library's, with this package's answers.
func Main() int {
	if len(os.Args) > 1 && os.Args[1] == "precompile" {
		return precompile.Main(os.Args[2:])
	}
	args, err := parseArguments(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		printUsage(os.Stdout)
		return 0
	case err != nil:
		return fail(err)
	case len(os.Args) < 2:
		printUsage(os.Stderr)
		return 1
	case args.version:
		printVersion(os.Stdout, filepath.Base(os.Args[0]))
		return 0
	case args.info:
	case args.action == "start":
		if err := start(args, os.Stdin, os.Stdout); err != nil {
			return fail(err)
		}
		return 0
	case args.action == "":
		return runDaemon(args)
	case args.action != "delete":
		return fail(fmt.Errorf("unknown action %q; containerd calls start and delete", args.action))
	}
	shim.RunShim(context.Background(), manager{})
	return 0
}

// runDaemon serves until it is shut down.
func runDaemon(args arguments) int {
	ctx := context.Background()
	if err := setUpLog(args.debug); err != nil {
		if socket, err := inheritedSocket(listenerDescriptor); err == nil {
			socket.withdraw(ctx)
		}
		return fail(err)
	}
	registerTaskService()
	if args.debug {
		registerProfiles()
	}
	shim.RunShim(ctx, manager{}, func(c *shim.Config) { c.NoSetupLogger = true })
	return 0
}

// fail reports err where containerd looks for it and returns the exit status.
func fail(err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
	return 1
}

// arguments are the command line's, as every containerd since 1.6 writes it.
type arguments struct {
	action    string
	id        string
	namespace string
	// address is containerd's gRPC socket; empty under CRI-O.
	address       string
	debug         bool
	info, version bool
}

// parseArguments reads the command line. It knows the flags of containerd's
// library, which reads the same line again where the call goes on to it.
func parseArguments(line []string) (arguments, error) {
	var a arguments
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&a.id, "id", "", "")
	flags.StringVar(&a.namespace, "namespace", "", "")
	flags.StringVar(&a.address, "address", "", "")
	flags.BoolVar(&a.debug, "debug", false, "")
	flags.BoolVar(&a.info, "info", false, "")
	flags.BoolVar(&a.version, "version", false, "")
	flags.BoolVar(&a.version, "v", false, "")
	for _, unused := range []string{"bundle", "publish-binary", "socket", "debug-socket"} {
		flags.String(unused, "", "")
	}
	if err := flags.Parse(line); err != nil {
		return arguments{}, err
	}
	a.action = flags.Arg(0)
	return a, nil
}
