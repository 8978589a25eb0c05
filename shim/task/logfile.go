package task

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
)

// openLog opens a file to append to, and makes it and the directories above it
// where they are missing.
func openLog(path string) (*os.File, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not an absolute path: %w", path, errdefs.ErrInvalidArgument)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
}
