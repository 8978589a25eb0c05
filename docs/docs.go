// Package docs is the manual, embedded so that the tests can run what it says.
package docs

import _ "embed"

// Operations is operations.md.
//
//go:embed operations.md
var Operations string

// Images is images.md.
//
//go:embed images.md
var Images string

// HostileModules is hostile-modules.md.
//
//go:embed hostile-modules.md
var HostileModules string
