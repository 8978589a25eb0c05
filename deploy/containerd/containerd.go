// Package containerd holds the settings that give a containerd the runtime
// handler "wasm", as files that an administrator can import.
package containerd

import _ "embed"

// The files, by the version of the configuration that imports them.
var (
	//go:embed wasm-v2.toml
	V2 string
	// V3 serves configurations of version 4, too: each file has its own version.
	//
	//go:embed wasm-v3.toml
	V3 string
)
