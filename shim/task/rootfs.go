package task

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
)

// mountRootfs mounts at the bundle's rootfs what the request asks for. After an
// error, some of it may be mounted.
func mountRootfs(dir string, mounts []*types.Mount) error {
	target := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(target, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("root file system: %w", err)
	}
	all := mount.FromProto(mounts)
	for i := range all {
		// Mounting writes into the options of an id-mapped overlay, and the request's
		// are read again.
		all[i].Options = slices.Clone(all[i].Options)
	}
	if err := mount.All(all, target); err != nil {
		return fmt.Errorf("the root file system cannot be mounted at %s: %w", target, err)
	}
	return nil
}

// overlayLayers returns the directories of an overlay, the one that is written to
// first; none where the mounts are something else, or do not say all of them.
func overlayLayers(mounts []*types.Mount) []string {
	if len(mounts) != 1 || mounts[0].Type != "overlay" {
		return nil
	}
	var upper string
	var lower []string
	for _, option := range mounts[0].Options {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "upperdir":
			upper = value
		case "lowerdir":
			lower = strings.Split(value, ":")
		}
	}
	if upper == "" || len(lower) == 0 {
		return nil
	}
	return append([]string{upper}, lower...)
}

// unmountRootfs undoes mountRootfs.
func unmountRootfs(dir string) error {
	if err := bundle.Unmount(filepath.Join(dir, "rootfs")); err != nil {
		return fmt.Errorf("the root file system cannot be unmounted: %w", err)
	}
	return nil
}
