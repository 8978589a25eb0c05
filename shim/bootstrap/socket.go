package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path a unix socket's address holds, in bytes.
const maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1

// socketPrefix marks our sockets in a directory that is every shim's.
const socketPrefix = "wasm-"

// socketAddress returns the address at which the shim of a group listens.
//
// The name is not the one that containerd's library computes for the same group.
// A runc shim of that group would otherwise be taken for ours, and the library's
// cleanup at the daemon's end could remove the socket of the next shim, which
// has the same name (see ownSocket).
func socketAddress(r request, group string) (string, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s", runtimeName, r.grpcAddress, r.namespace, group))
	path := filepath.Join(r.socketDir, fmt.Sprintf("%s%x", socketPrefix, sum[:20]))
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("socket directory %s: its path is too long for a unix socket by %d bytes", r.socketDir, len(path)-maxSocketPath)
	}
	return "unix://" + path, nil
}

// claim returns a listener at address, or nil where a living shim listens there
// already. What a dead one has left is replaced. The caller closes the listener
// and, if no daemon takes it over, removes the socket.
func claim(address string) (*net.UnixListener, error) {
	path := socketPath(address)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	defer unlock()

	if living, err := probe(path); err != nil || living {
		return nil, err
	}
	if err := removeFile(path); err != nil {
		return nil, err
	}
	l, err := shim.NewSocket(address)
	if err != nil {
		return nil, fmt.Errorf("shim socket: %w", err)
	}
	// The socket outlives this process; the daemon removes it.
	l.SetUnlinkOnClose(false)
	return l, nil
}

// removeIfDead removes the socket at address unless a shim listens there.
func removeIfDead(address string) error {
	path := socketPath(address)
	unlock, err := lockDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if living, err := probe(path); err != nil || living {
		return err
	}
	return removeFile(path)
}

// sweep removes those of our sockets in dir that nobody listens at. There is one
// where a shim was killed in the moment after its `start`, before containerd
// had connected to it: then there is no `delete` for its container. Living shims
// are not disturbed, unless they are in another network namespace.
func sweep(dir string) error {
	unlock, err := lockDir(filepath.Join(dir, socketPrefix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	paths, err := filepath.Glob(filepath.Join(dir, socketPrefix+"*"))
	if err != nil || len(paths) == 0 {
		return err
	}
	// The kernel's list of this network namespace's sockets; the path comes last.
	bound, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range paths {
		if bytes.Contains(bound, []byte(" "+path+"\n")) {
			continue
		}
		living, err := probe(path)
		if err == nil && !living {
			err = removeFile(path)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// probe says whether somebody listens at path.
func probe(path string) (bool, error) {
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return true, nil
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("shim socket: %w", err)
	}
}

// lockDir keeps others from looking at and changing the sockets beside path, so
// that nobody takes a socket that is being bound, or one that is about to be
// replaced, for a dead one. It is held for moments.
func lockDir(path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	return func() { dir.Close() }, nil
}

func socketPath(address string) string { return strings.TrimPrefix(address, "unix://") }

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ownSocket is the socket on which this daemon listens. It is withdrawn as soon
// as the daemon's end is decided: a `start` for the same group then makes a shim
// of its own instead of being sent to one that is about to go. The library
// removes sockets too, later and by name, when the name may be the next shim's;
// withdraw leaves it nothing to find.
type ownSocket struct {
	path string
	info fs.FileInfo
	once sync.Once
}

// inheritedSocket identifies the socket that `start` left at descriptor fd.
func inheritedSocket(fd int) (*ownSocket, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("the shim's socket, descriptor %d: %w", fd, err)
	}
	address, ok := sa.(*unix.SockaddrUnix)
	if !ok {
		return nil, fmt.Errorf("the shim's socket, descriptor %d, is not a unix socket", fd)
	}
	info, err := os.Lstat(address.Name)
	if err != nil {
		return nil, fmt.Errorf("the shim's socket: %w", err)
	}
	return &ownSocket{path: address.Name, info: info}, nil
}

// withdraw removes the socket, if it is still this daemon's, and the address
// file of the bundle that the daemon runs in. It may be called more than once.
func (s *ownSocket) withdraw(ctx context.Context) {
	s.once.Do(func() {
		if err := s.remove(); err != nil {
			log.G(ctx).WithError(err).Warn("the shim's socket remains")
		}
	})
}

func (s *ownSocket) remove() error {
	unlock, err := lockDir(s.path)
	if err != nil {
		return err
	}
	defer unlock()
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
		if err := removeFile(s.path); err != nil {
			return err
		}
	}
	// Relative: the bundle may have been renamed, and is then going away.
	return removeFile(addressFile)
}
