package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// runDir is fixed in containerd's code whatever its own state folder is: shim
// sockets and ctr's FIFOs go there.
const runDir = "/run/containerd"

// claimRunDir makes sure that runDir is there to be mounted over, and returns
// what gives it up. The kernel drops a mount in another namespace when its
// folder is removed, so each program that runs holds a shared lock, and who
// made the folder removes it only if nobody else is left.
func claimRunDir() (release func(), err error) {
	err = os.Mkdir(runDir, 0o755)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	dir, err := os.Open(runDir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_SH); err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", runDir, err)
	}
	return func() {
		if made && unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.Remove(runDir)
		}
		dir.Close()
	}, nil
}
