package bootstrap

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// version and revision are set by the build:
//
//	-ldflags "-X github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bootstrap.version=v1.2.3 …"
//
// Without it they are what the Go toolchain recorded of the source.
var version, revision string

// programVersion returns the program's version and the source revision it was
// built from; either may be "unknown".
func programVersion() (v, r string) {
	v, r = version, revision
	if build, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = build.Main.Version
		}
		for _, s := range build.Settings {
			if r == "" && s.Key == "vcs.revision" {
				r = s.Value
			}
		}
	}
	if v == "" {
		v = "unknown"
	}
	if r == "" {
		r = "unknown"
	}
	return v, r
}

// printVersion has the form of containerd's own programs.
func printVersion(w io.Writer, program string) {
	v, r := programVersion()
	fmt.Fprintf(w, "%s:\n  Version:    %s\n  Revision:   %s\n  Go version: %s\n", program, v, r, runtime.Version())
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, `containerd-shim-wasm-v1 runs WebAssembly modules as containers of containerd.

containerd starts this program by itself; nothing has to be run by hand. Put
it and wasm-sandbox into one directory on containerd's PATH and name the runtime:

  ctr run --rm --runtime io.containerd.wasm.v1 IMAGE ID
  docker run --rm --runtime io.containerd.wasm.v1 IMAGE

To compile the modules of images before their first containers:

  containerd-shim-wasm-v1 precompile [-address SOCKET] [-namespace NAME]
                                     [-config FILE] IMAGE...

Flags for people:
  -version, -v   print the version and exit
  -h, -help      print this text and exit

Actions and flags of containerd:
  -namespace NAME -id ID -address SOCKET [-debug] start
  -namespace NAME -id ID -bundle DIRECTORY delete
  -info          read the runtime's options from stdin, write what the runtime
                 can do to stdout, both as protobuf messages, and exit
`)
}
