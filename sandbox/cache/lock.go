package cache

import (
	"context"
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile has a byte for each key, of which processes lock one. So there is
// nothing to clean up, and the kernel lets go where a process dies.
const lockFile = "lock"

// lockInterval is how often a lock that another holds is asked for again. The
// kernel's own waiting could not be ended.
const lockInterval = 5 * time.Millisecond

// Lock waits until no other caller, in this process or another, has the lock of
// the key. The caller calls unlock.
func (s *Store) Lock(ctx context.Context, key Key) (unlock func(), err error) {
	file, err := os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	at := int64(binary.LittleEndian.Uint64(key[:]) >> 2)
	for {
		// Of the open file, not of the process: fcntl(2), "Open file description locks".
		err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1})
		if err == nil {
			return func() { file.Close() }, nil
		}
		if err != unix.EAGAIN && err != unix.EACCES && err != unix.EINTR {
			break
		}
		select {
		case <-time.After(lockInterval):
			continue
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		break
	}
	file.Close()
	return nil, err
}
