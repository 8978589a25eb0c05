package bundle

import (
	"fmt"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// Unmount takes away what is mounted at a place of a bundle and below it; nothing
// is no error. A mount that somebody else looks into is detached: it goes when they
// do.
func Unmount(place string) error {
	err := mount.UnmountRecursive(place, 0)
	if err != nil {
		err = mount.UnmountRecursive(place, unix.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("unmounting %s: %w", place, err)
	}
	return nil
}
