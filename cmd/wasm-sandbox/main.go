// Command wasm-sandbox becomes one container: the shim starts it, jails it and
// tells it which module to run. It is not for use by hand.
package main

import (
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/child"
)

func main() { os.Exit(child.Main()) }
