// Command wasm-node-installer gives the containerd of a Kubernetes node the
// runtime handler "wasm", and takes it away again.
package main

import (
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/deploy/node"
)

func main() { os.Exit(node.Main()) }
