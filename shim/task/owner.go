package task

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// giveAway makes the process's user the owner of its pipes and FIFOs, as runc
// does, so that the process can open them by name too, as /dev/stdout. Log files
// stay the host's, and so do FIFOs of a client that is another user than this
// shim, who could not open them any more.
func (s *stdio) giveAway() error {
	for _, f := range s.process {
		if f == nil {
			continue
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		ours := info.Sys().(*syscall.Stat_t).Uid == uint32(os.Geteuid())
		if info.Mode()&fs.ModeNamedPipe == 0 || !ours {
			continue
		}
		if err := giveTo(s.cfg.owner, f); err != nil {
			return err
		}
	}
	return nil
}

// giveTo changes the owner of a stream, if that can be: a file system that is
// read-only or of another user namespace forbids it, and the process has the
// stream open all the same.
func giveTo(owner int, f *os.File) error {
	err := f.Chown(owner, -1)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}
