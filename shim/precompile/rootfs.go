package precompile

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// open opens the top folder of an image's root file system, by the first of the
// snapshotters that still has it. It is mounted nowhere any more when open
// returns, so nothing is left of it but the snapshot, which remove takes away
// after the folder is closed.
func open(ctx context.Context, images *oci.Images, image oci.Image) (root *os.File, remove func() error, err error) {
	var failed error
	for _, snapshot := range image.Snapshots {
		mounts, remove, err := images.View(ctx, snapshot, "wasm-precompile-"+rand.Text())
		if err == nil {
			if root, err = openMounted(mount.FromProto(mounts)); err == nil {
				return root, remove, nil
			}
			err = joined(fmt.Errorf("the root file system of the snapshotter %s: %w", snapshot.Snapshotter, err), remove())
		}
		failed = joined(failed, err)
	}
	return nil, nil, fmt.Errorf("%w; pull the image again, or run a container of it", failed)
}

// joined is errors.Join on one line.
func joined(a, b error) error {
	if a == nil || b == nil {
		return errors.Join(a, b)
	}
	return fmt.Errorf("%w; %w", a, b)
}

// openMounted mounts in a namespace that ends with the thread that made it, and
// with this process however that ends.
func openMounted(mounts []mount.Mount) (root *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever
		root, err = openAlone(mounts)
	}()
	<-done
	return root, err
}

func openAlone(mounts []mount.Mount) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("a mount namespace cannot be had, which the user that containerd runs as may make: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	dir, err := os.MkdirTemp("", "wasm-precompile-")
	if err != nil {
		return nil, err
	}
	// The folder can only go when nothing is mounted on it.
	defer os.Remove(dir)
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := mount.All(mounts, dir); err != nil {
		return nil, err
	}
	return os.Open(dir)
}
