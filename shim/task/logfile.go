package task

import (
	"fmt"
	"io"
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

// toFile returns the process's end of a pipe, from which a goroutine carries to
// file and closes that at the end. With the file itself a guest could do more
// than append: cut it, write over what is in it, and by its name below /proc
// read it. What a full disk does not take is lost, as it is from runc's shim.
func (s *stdio) toFile(file *os.File) (theirs *os.File, err error) {
	from, theirs, err := os.Pipe()
	if err != nil {
		file.Close()
		return nil, err
	}
	s.files.Go(func() {
		defer file.Close()
		defer from.Close()
		if _, err := carry(file, from); err != nil {
			s.cfg.log.WithError(err).Warn("output lost")
			_, _ = io.Copy(io.Discard, from)
		}
	})
	return theirs, nil
}

// fromFile is toFile for an input, which a guest could otherwise write to.
func (s *stdio) fromFile(file *os.File) (theirs *os.File, err error) {
	theirs, to, err := os.Pipe()
	if err != nil {
		file.Close()
		return nil, err
	}
	go func() {
		defer file.Close()
		defer to.Close()
		_, _ = carry(to, file) // until the file or the process ends
	}()
	return theirs, nil
}

// isRegular reports whether an open file is one, and not a device.
func isRegular(file *os.File) bool {
	info, err := file.Stat()
	return err != nil || info.Mode().IsRegular()
}
