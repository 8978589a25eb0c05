package task

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lateReader is how long after the end of a process a FIFO, even an empty one,
// is kept for a reader who was not there when the process was created: to open
// a FIFO for reading blocks where nobody writes.
const lateReader = time.Second

// heldFIFO is the shim's end of an output FIFO.
type heldFIFO struct {
	file *os.File // opened for reading and writing
	// hadReader says that somebody was reading when the FIFO was opened.
	hadReader bool
}

// openInputFIFO opens a FIFO for a process to read from; held is a write end
// that keeps the process from an end of input while a client is not there.
func openInputFIFO(path string) (theirs, held *os.File, err error) {
	if theirs, err = openBlocking(path, unix.O_RDONLY); err != nil {
		return nil, nil, err
	}
	if held, err = openBlocking(path, unix.O_WRONLY); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return theirs, held, nil
}

// openOutputFIFO opens a FIFO for a process to write to; held keeps what is
// written and saves the process from a SIGPIPE while nobody reads.
func openOutputFIFO(path string) (theirs *os.File, held *heldFIFO, err error) {
	held = &heldFIFO{hadReader: true}
	probe, err := openBlocking(path, unix.O_WRONLY)
	if errors.Is(err, unix.ENXIO) {
		held.hadReader = false
	} else if err != nil {
		return nil, nil, err
	} else {
		defer probe.Close()
	}
	if held.file, err = openBlocking(path, unix.O_RDWR); err != nil {
		return nil, nil, err
	}
	if theirs, err = openBlocking(path, unix.O_WRONLY); err != nil {
		held.file.Close()
		return nil, nil, err
	}
	return theirs, held, nil
}

// openBlocking opens a FIFO without waiting for its other end (fifo(7)), for
// reads and writes that wait.
func openBlocking(path string, mode int) (*os.File, error) {
	fd, err := unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	// Before os.NewFile sees it, which would have the runtime poll the FIFO and
	// wake the shim at every write of a guest.
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// drain closes the FIFO as soon as it is empty, or cut is closed. As long as
// somebody reads this loses nothing: the bytes stay in the FIFO. Nothing tells
// of a FIFO's becoming empty, so drain looks again in growing intervals.
func (h *heldFIFO) drain(cut <-chan struct{}) {
	begin := time.Now()
	if h.hadReader && h.empty() {
		h.file.Close()
		return
	}
	go func() {
		defer h.file.Close()
		for {
			wait := min(max(time.Since(begin)/4, time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-cut:
				return
			}
			if h.empty() && (h.hadReader || time.Since(begin) >= lateReader) {
				return
			}
		}
	}()
}

// empty reports whether no byte waits to be read.
func (h *heldFIFO) empty() bool {
	waiting, err := unix.IoctlGetInt(int(h.file.Fd()), unix.TIOCINQ)
	return err != nil || waiting == 0
}
