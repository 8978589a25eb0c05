// Package node is the program wasm-node-installer: it puts the shim on a
// Kubernetes node and adds the runtime handler "wasm" to the node's containerd,
// whichever distribution brought that, and can undo all it did.
package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	securejoin "github.com/cyphar/filepath-securejoin"
)

// host is a node's root file system, mounted at that folder. Paths given to its
// methods are the node's own, and symbolic links in them lead where they lead on
// the node.
type host string

// path is where a path of the node's is for this program. The last element need
// not be there.
func (h host) path(name string) (string, error) {
	path, err := securejoin.SecureJoin(string(h), name)
	if err != nil {
		return "", fmt.Errorf("%s on the node: %w", name, err)
	}
	return path, nil
}

// own is the opposite of path.
func (h host) own(path string) string {
	rel, err := filepath.Rel(string(h), path)
	if err != nil {
		return path
	}
	return filepath.Join("/", rel)
}

// read reads a file; one that is not there is nil.
func (h host) read(name string) ([]byte, error) {
	path, err := h.path(name)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
}

// exists says whether there is anything, a broken link included.
func (h host) exists(name string) bool {
	path, err := h.path(name)
	if err != nil {
		return false
	}
	_, err = os.Lstat(path)
	return err == nil
}

// write replaces a file, or makes it with that mode. Whoever reads it sees the
// old content or the new one, after a power failure as well. An old file's
// permissions and owner stay.
func (h host) write(name string, content io.Reader, mode fs.FileMode) error {
	path, err := h.path(name)
	if err != nil {
		return err
	}
	// A dot in front keeps it out of globs such as *.toml.
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	if err := fill(temp, path, content, mode); err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncFolder(filepath.Dir(path))
}

// fill writes a file, closes it and gives it its name.
func fill(f *os.File, path string, content io.Reader, mode fs.FileMode) error {
	_, err := io.Copy(f, content)
	if info, statErr := os.Stat(path); err == nil && statErr == nil {
		mode = info.Mode().Perm()
		owner := info.Sys().(*syscall.Stat_t)
		if int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid() {
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// syncFolder makes the names in a folder survive a power failure.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
