// Package kubernetes holds the manifests, embedded so that the tests can read
// what administrators apply.
package kubernetes

import "embed"

// Files are the manifests, by their paths below this folder.
//
//go:embed base overlays examples runtime-class-manager
var Files embed.FS
