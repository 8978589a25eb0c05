package bootstrap

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// logFile is a FIFO in the bundle that containerd reads.
const logFile = "log"

// logTimeout is how long a reader of the log may take to come.
const logTimeout = 10 * time.Second

// setUpLog lets the daemon log to containerd, panics included. The library's own
// way waits for a reader, and if `start` and containerd have given up by then,
// waits for ever.
func setUpLog(debug bool) error {
	fd, err := openLog()
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Dup3(fd, int(os.Stderr.Fd()), 0); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	log.L.Logger.SetOutput(os.Stderr)
	if err := log.SetFormat(log.TextFormat); err != nil {
		return err
	}
	if debug {
		return log.SetLevel(log.DebugLevel)
	}
	return nil
}

func openLog() (fd int, err error) {
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		fd, err := unix.Open(logFile, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return fd, unix.SetNonblock(fd, false)
		case err == unix.EINTR:
		case err != unix.ENXIO:
			return -1, &os.PathError{Op: "open", Path: logFile, Err: err}
		case startHasEnded():
			return -1, errors.New("the action start has ended, and nobody reads the log")
		case time.Since(begin) > logTimeout:
			return -1, fmt.Errorf("nobody reads the log for %s", logTimeout)
		}
	}
}

// startHasEnded says whether nobody holds the other end of standard output.
func startHasEnded() bool {
	fds := []unix.PollFd{{Fd: int32(os.Stdout.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0
}
