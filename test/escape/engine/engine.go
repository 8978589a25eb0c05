// Package engine stands in for sandbox/engine in a build of the sandbox's
// program: in place of a guest runs an attacker. All else is the product's.
package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/escape"
)

type Config struct {
	Name           string
	Artifact       *os.File
	ArtifactOffset int64
	Function       string
	Args, Env      []string
	MemoryLimit    int64
	Listeners      []int
}

type Instance struct{ args []string }

func Load(_ context.Context, cfg Config) (*Instance, error) { return &Instance{cfg.Args}, nil }

// Run makes the attempts that the container's arguments say.
func (i *Instance) Run(context.Context) int {
	escape.Run(os.Stdout, i.args[1], i.args[2:]...)
	return 0
}

// ErrStore is never returned.
var ErrStore = errors.New("no room")

// Made says how large the artifact is, and its digest.
type Made struct {
	Size int64
	Sum  [sha256.Size]byte
}

func Settings() string { return "attacker" }

// Compile makes an artifact of one byte.
func Compile(_ context.Context, _ string, _ []byte, to *os.File, offset int64) (Made, error) {
	_, err := to.WriteAt([]byte{0}, offset)
	return Made{1, sha256.Sum256([]byte{0})}, err
}
