package task

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// mountRootfs mounts at the bundle's rootfs what the request asks for. After an
// error, some of it may be mounted.
func mountRootfs(bundle string, mounts []*types.Mount) error {
	target := filepath.Join(bundle, "rootfs")
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

// unmountRootfs undoes mountRootfs. A mount that somebody else looks into is
// detached: it goes when they do.
func unmountRootfs(bundle string) error {
	target := filepath.Join(bundle, "rootfs")
	err := mount.UnmountRecursive(target, 0)
	if err != nil {
		err = mount.UnmountRecursive(target, unix.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("the root file system cannot be unmounted from %s: %w", target, err)
	}
	return nil
}
