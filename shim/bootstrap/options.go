package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// optionsFile is where `start` leaves the runtime's options for the daemon, in
// the bundle's directory. The calls that make a pod bring none, and those that make
// its containers runc's.
const optionsFile = "wasm-options"

func leaveOptions(dir string, packed *anypb.Any) error {
	data, err := proto.Marshal(packed)
	if err != nil {
		return fmt.Errorf("runtime options: %w", err)
	}
	return bundle.WriteFile(filepath.Join(dir, optionsFile), data)
}

// readOptions reads what leaveOptions has left; a daemon that was not started by
// `start` has no options.
func readOptions(dir string) (options.Options, error) {
	data, err := os.ReadFile(filepath.Join(dir, optionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return options.Options{}, nil
	}
	if err != nil {
		return options.Options{}, err
	}
	var packed anypb.Any
	if err := proto.Unmarshal(data, &packed); err != nil {
		return options.Options{}, fmt.Errorf("%s: %w", optionsFile, err)
	}
	return options.FromAny(&packed)
}
