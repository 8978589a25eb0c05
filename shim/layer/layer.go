// Package layer hands layers of images to sandboxes.
package layer

import (
	"context"
	"errors"
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"golang.org/x/sys/unix"
)

// Of is a layer of an image as a sandbox wants it: read from containerd when
// there is no artifact of it, into a file without a name in the folder, or where
// temporary files are. Memory would be the shim's, which no container's limit
// covers.
func Of(images *oci.Images, l *oci.Layer, dir string) *sandbox.Layer {
	return &sandbox.Layer{Digest: l.Digest.String(), Open: func(ctx context.Context) (*os.File, error) {
		file, err := unnamedFile(dir, os.TempDir())
		if err != nil {
			return nil, err
		}
		if err := images.Copy(ctx, l, file); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		return file, nil
	}}
}

// unnamedFile makes a file in the first of the folders that takes one.
func unnamedFile(dirs ...string) (file *os.File, err error) {
	for _, dir := range dirs {
		if file, err = os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600); err == nil {
			return file, nil
		}
	}
	return nil, err
}
