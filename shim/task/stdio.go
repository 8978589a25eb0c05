package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// drainTimeout is how long a deletion waits for output to be taken: what a
// terminal or a stream still has, and what a logging program is still writing.
const drainTimeout = 10 * time.Second

// streams are the standard streams of a process as a caller wants them: nothing,
// the path of a FIFO or of another file, or a URI. With a terminal there is no
// stderr, whatever is given.
type streams struct {
	stdin, stdout, stderr string
	terminal              bool
}

// stdioConfig says what openStdio opens.
type stdioConfig struct {
	streams
	id        string        // of the process, for a logging program
	namespace string        // containerd's, likewise
	exits     *exits        // where the exit of a logging program is learnt
	streaming *streaming    // where the streams of the Streaming API arrive
	patience  time.Duration // how long to wait for readers of FIFOs
	size      *specs.Box    // of the terminal, in characters; may be nil
	owner     int           // the process's user: an id of the host's
	log       *log.Entry
}

// openStdio opens the standard streams of a process that is about to be made.
func (s *wasm) openStdio(ctx context.Context, p *process) (*stdio, error) {
	namespace, _ := namespaces.Namespace(s.ctx)
	cfg := stdioConfig{
		streams:   p.streams,
		id:        p.eventID(),
		namespace: namespace,
		exits:     s.exits,
		streaming: s.streaming,
		patience:  readerTimeout,
		size:      p.spec.Process.ConsoleSize,
		owner:     hostUser(p.spec),
		log:       p.log(),
	}
	return openStdio(ctx, cfg)
}

// stdio is the standard input and output of one process. Without a terminal, the
// process reads and writes the FIFOs that the caller gave, and no byte passes
// through the shim; what goes to or comes from a file of the host does. Of a FIFO the shim holds a second end, so that neither a caller who goes
// away nor one who comes late is noticed by the process.
type stdio struct {
	cfg      stdioConfig
	process  [3]*os.File // the process's ends; nil is /dev/null
	terminal *terminal   // nil without one
	loggers  map[string]*logger
	copies   sync.WaitGroup // goroutines that carry output
	files    sync.WaitGroup // those of them that carry to files, and so wait for nobody
	cut      chan struct{}  // closed by close

	mu      sync.Mutex
	input   *os.File    // a write end of stdin, until CloseIO
	sources []*os.File  // what goroutines read that carry input
	outputs []*heldFIFO // of stdout and stderr
}

// openStdio opens all streams. A path is a FIFO or whatever else is there
// already, file:// is a file to append to, made if need be and one for both
// outputs where they are the same, and binary:// is a program that is started.
func openStdio(ctx context.Context, cfg stdioConfig) (_ *stdio, err error) {
	s := &stdio{cfg: cfg, loggers: make(map[string]*logger), cut: make(chan struct{})}
	defer func() {
		if err != nil {
			drained, cancel := context.WithTimeout(ctx, drainTimeout)
			defer cancel()
			s.close(drained)
		}
	}()
	waiting, cancel := context.WithTimeout(ctx, cfg.patience)
	defer cancel()
	if s.process[0], err = s.openInput(); err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	if s.process[1], err = s.openOutput(waiting, cfg.stdout, 0); err != nil {
		return nil, fmt.Errorf("stdout: %w", err)
	}
	stderr := cfg.stderr
	if stderr == "" && isLogger(cfg.stdout) {
		stderr = cfg.stdout // as from runc's shim: the program is for both
	}
	switch {
	case cfg.terminal:
		err = s.openTerminal()
	case stderr == cfg.stdout && strings.HasPrefix(stderr, "file:"):
		s.process[2] = s.process[1]
	default:
		s.process[2], err = s.openOutput(waiting, stderr, 1)
		if err != nil {
			err = fmt.Errorf("stderr: %w", err)
		}
	}
	if err == nil {
		err = s.giveAway()
	}
	if err != nil {
		return nil, err
	}
	for _, l := range s.loggers {
		l.closeUnused()
	}
	return s, nil
}

func (s *stdio) openInput() (theirs *os.File, err error) {
	where := s.cfg.stdin
	if where == "" {
		return nil, nil
	}
	if scheme, _, ok := strings.Cut(where, "://"); ok {
		if scheme == streamingScheme {
			return s.openInputStream(where)
		}
		return nil, fmt.Errorf("the scheme %q of %q is not supported; give the path of a FIFO: %w", scheme, where, errdefs.ErrInvalidArgument)
	}
	isFIFO, err := fifo(where)
	if err != nil {
		return nil, err
	}
	if !isFIFO {
		file, err := os.Open(where)
		if err != nil || !isRegular(file) {
			return file, err
		}
		return s.fromFile(file)
	}
	theirs, s.input, err = openInputFIFO(where, s.cfg.terminal)
	return theirs, err
}

// openOutput opens stdout, which is stream 0 here, or stderr, 1.
func (s *stdio) openOutput(waiting context.Context, where string, stream int) (theirs *os.File, err error) {
	if where == "" {
		return nil, nil
	}
	scheme, _, isURI := strings.Cut(where, "://")
	switch {
	case !isURI:
	case scheme == "file":
		location, err := url.Parse(where)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
		file, err := openLog(location.Path)
		if err != nil {
			return nil, err
		}
		return s.toFile(file)
	case isLogger(where):
		return s.openLogger(where, stream)
	case scheme == streamingScheme:
		return s.openOutputStream(where)
	default:
		return nil, fmt.Errorf("the scheme %q of %q is not supported; give the path of a FIFO, file:///path, binary:///path/of/program, or a %s URI of the Streaming API: %w",
			scheme, where, streamingScheme, errdefs.ErrInvalidArgument)
	}
	isFIFO, err := fifo(where)
	if err != nil {
		return nil, err
	}
	if !isFIFO {
		file, err := os.OpenFile(where, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil || !isRegular(file) {
			return file, err
		}
		return s.toFile(file)
	}
	theirs, held, err := openOutputFIFO(waiting, where, s.cfg.terminal)
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

// closeStdin lets go of the shim's end of stdin. It may be called again, and of nil.
func (s *stdio) closeStdin() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.input != nil {
		s.input.Close()
		s.input = nil
	}
}

// finish is called when the process has ended: whoever reads sees the end of
// the output once he has read all of it, for which finish waits a little. What
// nobody has read yet is kept for a reader to come, until close.
func (s *stdio) finish() {
	s.endInput()
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.files.Wait()
		if s.terminal != nil {
			s.copies.Wait() // what the terminal still has goes into the FIFO
		}
		s.drain()
	}()
	select {
	case <-read:
	case <-time.After(readersGrace):
	}
}

func (s *stdio) endInput() {
	s.closeStdin()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.sources {
		f.Close()
	}
	s.sources = nil
}

// drain returns when whoever read the FIFOs from the beginning has read all.
func (s *stdio) drain() {
	var read []<-chan struct{}
	s.mu.Lock()
	for _, held := range s.outputs {
		if closed := held.drain(s.cut); held.hadReader {
			read = append(read, closed)
		}
	}
	s.outputs = nil
	s.mu.Unlock()
	for _, closed := range read {
		<-closed
	}
}

// close lets go of everything, the process having ended or never begun. It waits
// for what is still being carried, until ctx ends. It may be called again, and
// of nil.
func (s *stdio) close(ctx context.Context) {
	if s == nil {
		return
	}
	s.handedOver()
	s.endInput()
	carried := make(chan struct{})
	go func() {
		s.files.Wait()
		s.copies.Wait()
		close(carried)
	}()
	select {
	case <-carried:
	case <-ctx.Done():
	}
	s.mu.Lock()
	select {
	case <-s.cut:
	default:
		close(s.cut)
	}
	for _, held := range s.outputs {
		held.file.Close()
	}
	s.outputs = nil
	s.mu.Unlock()
	s.terminal.close()
	for _, l := range s.loggers {
		l.end(ctx, s.cfg.log)
	}
}
