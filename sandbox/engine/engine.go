// Package engine runs one WebAssembly module in wazero.
package engine

import (
	"context"
	"errors"
)

// Config says what runs and how.
type Config struct {
	// Name is the module's path, for messages.
	Name string
	// Binary is the module.
	Binary []byte
	// Function is the export that is called; empty means _start.
	Function string
	// Args and Env are the guest's.
	Args, Env []string
	// MemoryLimit is the memory limit of the container's cgroup in bytes; 0 is none.
	MemoryLimit int64
}

// Instance is a loaded module.
type Instance struct{}

// Load compiles the module and links its imports; no guest code runs. Its
// error is a sentence for the person who asked for the container.
func Load(ctx context.Context, cfg Config) (*Instance, error) { return nil, errors.New("not written yet") }

// Run calls the entry function and returns the exit code of the container.
func (i *Instance) Run(ctx context.Context) int { return 125 }
