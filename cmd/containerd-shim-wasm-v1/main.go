// Command containerd-shim-wasm-v1 is the program containerd runs for the runtime
// io.containerd.wasm.v1.
package main

import (
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bootstrap"
)

func main() { os.Exit(bootstrap.Main()) }
