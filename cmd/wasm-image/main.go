// Command wasm-image makes, converts and inspects container images with a
// WebAssembly module.
package main

import (
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/command"
)

func main() { os.Exit(command.Main()) }
