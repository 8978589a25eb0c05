package task

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readerTimeout is how long the creation of a process waits for somebody to
	// read its output. Clients open their ends of the FIFOs beside the request
	// that names them, and give up an end that is not open yet when they are told
	// that the process has ended.
	readerTimeout = 5 * time.Second
	// lateReader is how long after the end of a process a FIFO, even an empty one,
	// is kept for a reader who was not there when the process was created: to open
	// a FIFO for reading blocks where nobody writes.
	lateReader = time.Second
)

// readersGrace is how long the end of a process is kept from containerd while
// somebody who reads its output has not come to its end. containerd's client
// closes its own ends of the FIFOs as soon as it hears of the end (cio.Cancel in
// Task.Delete), and what it has not read by then is lost.
const readersGrace = 500 * time.Millisecond

// heldFIFO is the shim's end of an output FIFO.
type heldFIFO struct {
	file *os.File // opened for reading and writing
	// hadReader says that somebody was reading when the FIFO was opened.
	hadReader bool
}

// openInputFIFO opens a FIFO to read from, for the process or for a goroutine;
// held is a write end that keeps the reader from an end of input while a client
// is not there.
func openInputFIFO(path string, goroutine bool) (reader, held *os.File, err error) {
	if reader, err = openFIFO(path, unix.O_RDONLY, goroutine); err != nil {
		return nil, nil, err
	}
	if held, err = openFIFO(path, unix.O_WRONLY, false); err != nil {
		reader.Close()
		return nil, nil, err
	}
	return reader, held, nil
}

// openOutputFIFO opens a FIFO to write to, for the process or for a goroutine;
// held keeps what is written and saves the writer from a SIGPIPE while nobody
// reads. It waits for a reader until waiting ends, and does without one then.
func openOutputFIFO(waiting context.Context, path string, goroutine bool) (writer *os.File, held *heldFIFO, err error) {
	held = &heldFIFO{}
	writer, err = openWithReader(waiting, path, goroutine)
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return nil, nil, err
	}
	held.hadReader = err == nil
	if held.file, err = openFIFO(path, unix.O_RDWR, false); err != nil {
		if writer != nil {
			writer.Close()
		}
		return nil, nil, err
	}
	if writer == nil {
		if writer, err = openFIFO(path, unix.O_WRONLY, goroutine); err != nil {
			held.file.Close()
			return nil, nil, err
		}
	}
	return writer, held, nil
}

// openWithReader opens a FIFO to write to once somebody reads it, or fails with
// ENXIO when waiting has ended.
func openWithReader(waiting context.Context, path string, goroutine bool) (*os.File, error) {
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
		writer, err := openFIFO(path, unix.O_WRONLY, goroutine)
		if !errors.Is(err, unix.ENXIO) {
			return writer, err
		}
		select {
		case <-time.After(wait):
		case <-waiting.Done():
			return nil, err
		}
	}
}

// openFIFO opens a FIFO without waiting for its other end (fifo(7)): for reads
// and writes that wait in the kernel, or for those of a goroutine.
func openFIFO(path string, mode int, goroutine bool) (*os.File, error) {
	fd, err := unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if !goroutine {
		// Before os.NewFile sees it, which would have the runtime poll the FIFO and
		// wake the shim at every write of a guest.
		if err := unix.SetNonblock(fd, false); err != nil {
			unix.Close(fd)
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// drain closes the FIFO as soon as it is empty, or cut is closed. As long as
// somebody reads this loses nothing: the bytes stay in the FIFO. Nothing tells
// of a FIFO's becoming empty, so drain looks again in growing intervals. The
// channel that it returns is closed when the FIFO is.
func (h *heldFIFO) drain(cut <-chan struct{}) <-chan struct{} {
	closed := make(chan struct{})
	begin := time.Now()
	if h.hadReader && h.empty() {
		h.file.Close()
		close(closed)
		return closed
	}
	go func() {
		defer close(closed)
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
	return closed
}

// empty reports whether no byte waits to be read.
func (h *heldFIFO) empty() bool {
	waiting, err := unix.IoctlGetInt(int(h.file.Fd()), unix.TIOCINQ)
	return err != nil || waiting == 0
}
