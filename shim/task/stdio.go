package task

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
)

// stdio is the standard input and output of one process. The process reads and
// writes what the caller gave, and no byte passes through the shim; of a FIFO
// the shim holds a second end, so that neither a caller who goes away nor one
// who comes late is noticed by the process.
type stdio struct {
	stdin, stdout, stderr string // as the caller gave them

	process [3]*os.File // the process's ends; nil is /dev/null

	mu      sync.Mutex
	input   *os.File      // a write end of stdin's FIFO, until CloseIO
	outputs []*heldFIFO   // of stdout and stderr
	cut     chan struct{} // closed by close
}

// openStdio opens all three streams. Nothing given is /dev/null, a path is a
// FIFO or whatever else is there already, and file:// is a file to append to,
// made if need be, and one for both outputs where they are the same.
func openStdio(stdin, stdout, stderr string) (_ *stdio, err error) {
	s := &stdio{stdin: stdin, stdout: stdout, stderr: stderr, cut: make(chan struct{})}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.openInput(); err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	if s.process[1], err = s.openOutput(stdout); err != nil {
		return nil, fmt.Errorf("stdout: %w", err)
	}
	if stderr == stdout && strings.Contains(stderr, "://") {
		s.process[2] = s.process[1]
		return s, nil
	}
	if s.process[2], err = s.openOutput(stderr); err != nil {
		return nil, fmt.Errorf("stderr: %w", err)
	}
	return s, nil
}

func (s *stdio) openInput() (err error) {
	if s.stdin == "" {
		return nil
	}
	if scheme, _, ok := strings.Cut(s.stdin, "://"); ok {
		return fmt.Errorf("the scheme %q of %q is not supported; give the path of a FIFO: %w", scheme, s.stdin, errdefs.ErrInvalidArgument)
	}
	isFIFO, err := fifo(s.stdin)
	if err != nil {
		return err
	}
	if isFIFO {
		s.process[0], s.input, err = openInputFIFO(s.stdin)
	} else {
		s.process[0], err = os.Open(s.stdin)
	}
	return err
}

func (s *stdio) openOutput(where string) (*os.File, error) {
	if where == "" {
		return nil, nil
	}
	if scheme, _, ok := strings.Cut(where, "://"); ok {
		if scheme != "file" {
			return nil, fmt.Errorf("the scheme %q of %q is not supported; give the path of a FIFO or file:///path: %w", scheme, where, errdefs.ErrInvalidArgument)
		}
		location, err := url.Parse(where)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
		return openLog(location.Path)
	}
	isFIFO, err := fifo(where)
	if err != nil {
		return nil, err
	}
	if !isFIFO {
		return os.OpenFile(where, os.O_WRONLY|os.O_APPEND, 0)
	}
	theirs, held, err := openOutputFIFO(where)
	if err != nil {
		return nil, err
	}
	s.outputs = append(s.outputs, held)
	return theirs, nil
}

// fifo reports whether there is a FIFO at path; a path with nothing there is no FIFO.
func fifo(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return info.Mode()&fs.ModeNamedPipe != 0, nil
}

// theirs returns the process's ends, which stay s's to close.
func (s *stdio) theirs() (stdin, stdout, stderr *os.File) {
	return s.process[0], s.process[1], s.process[2]
}

// handedOver closes the process's ends in this process.
func (s *stdio) handedOver() {
	for _, f := range s.process {
		if f != nil {
			f.Close() // one file may be there twice
		}
	}
}

// closeStdin lets go of the shim's end of stdin. It may be called again.
func (s *stdio) closeStdin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.input != nil {
		s.input.Close()
		s.input = nil
	}
}

// finish is called when the process has ended: whoever reads sees the end of
// the output once he has read all of it. What nobody has read yet is kept for a
// reader to come, until close.
func (s *stdio) finish() {
	s.closeStdin()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, held := range s.outputs {
		held.drain(s.cut)
	}
	s.outputs = nil
}

// close lets go of everything. It may be called again, and of nil.
func (s *stdio) close() {
	if s == nil {
		return
	}
	s.handedOver()
	s.closeStdin()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, held := range s.outputs {
		held.file.Close()
	}
	s.outputs = nil
	select {
	case <-s.cut:
	default:
		close(s.cut)
	}
}
