package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
)

// Folders that a program cannot be told to have elsewhere, so that each has one
// of its own mounted there.
const (
	// runDir is fixed in containerd's code whatever its own state folder is: shim
	// sockets and ctr's FIFOs go there.
	runDir = "/run/containerd"
	// dockerDir is where Docker looks for the sockets of plugins, which it makes if
	// it is not there.
	dockerDir = "/run/docker"
	// cacheDir is where shims have compiled modules unless an option says otherwise.
	cacheDir = options.DefaultCacheDir
)

// claim makes sure that a folder is there to be mounted over, and returns what
// gives it up. The kernel drops a mount in another namespace when its folder is
// removed, so each program that runs holds a shared lock, and who made the
// folder removes it only if nobody else is left.
func claim(path string) (release func(), err error) {
	err = os.Mkdir(path, 0o755)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_SH); err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() {
		if made && unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.Remove(path)
		}
		dir.Close()
	}, nil
}
