package linux

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/pkg/shim"
)

// Owns reports whether the bundle at dir is, or was, that of a Linux container:
// the service's first act is to write into it which runtime it uses.
func Owns(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "runtime"))
	return err == nil
}

// CleanUp removes what is left of a Linux container whose shim is gone, and says
// how it ended. The bundle must be the working directory, as it is for `delete`.
func CleanUp(ctx context.Context, id string) (shim.StopStatus, error) {
	return manager.NewShimManager("").Stop(ctx, id)
}
