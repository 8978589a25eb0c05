package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/log"
)

const (
	// readyTimeout is how long a logging program may take to say that it is ready.
	readyTimeout = 10 * time.Second
	// loggerGrace is how long one may take to end after a SIGTERM.
	loggerGrace = 2 * time.Second
)

// logger is a logging program, as of containerd's core/runtime/v2/logging: it
// reads stdout from descriptor 3 and stderr from 4, and says on 5 that it is ready.
type logger struct {
	name    string
	process *os.Process
	exited  <-chan runc.Exit
	// outputs are the write ends for stdout and stderr; nil once taken.
	outputs [2]*os.File
}

// isLogger reports whether a URI names a logging program. A program of the second
// kind must write a byte when it is ready; for one of the first it is enough to
// close the descriptor, which ending does too.
func isLogger(where string) bool {
	return strings.HasPrefix(where, "binary://") || strings.HasPrefix(where, "binary-v2://")
}

// openLogger returns the process's end of stdout, which is stream 0, or stderr,
// 1, to a logging program, which it starts for the first of the two.
func (s *stdio) openLogger(where string, stream int) (*os.File, error) {
	l := s.loggers[where]
	if l == nil {
		var err error
		if l, err = startLogger(where, &s.cfg); err != nil {
			return nil, err
		}
		s.loggers[where] = l
	}
	output := l.outputs[stream]
	l.outputs[stream] = nil
	return output, nil
}

// startLogger starts the program of a URI, whose query is the program's arguments,
// and waits until it is ready.
func startLogger(where string, cfg *stdioConfig) (_ *logger, err error) {
	location, err := url.Parse(where)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	args, err := queryArgs(location.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", where, err, errdefs.ErrInvalidArgument)
	}
	if cfg.namespace == "" {
		return nil, fmt.Errorf("%s: the shim knows no containerd namespace to tell the program: %w", where, errdefs.ErrInvalidArgument)
	}
	l := &logger{name: location.Path}
	var theirs [3]*os.File // 3, 4 and 5
	defer func() {
		for _, f := range theirs {
			if f != nil {
				f.Close()
			}
		}
		if err != nil {
			l.closeUnused()
		}
	}()
	for i := range l.outputs {
		if theirs[i], l.outputs[i], err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	ready, theirReady, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	theirs[2] = theirReady

	cmd := exec.Command(location.Path, args...)
	cmd.Env = []string{"CONTAINER_ID=" + cfg.id, "CONTAINER_NAMESPACE=" + cfg.namespace}
	cmd.ExtraFiles = theirs[:]
	launch := cfg.exits.begin()
	defer launch.end()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the logging program cannot be started: %w", err)
	}
	// The shim's reaper waits for the program, not cmd.
	l.process, l.exited = cmd.Process, launch.claim(cmd.Process.Pid)
	theirReady.Close()
	if err := l.waitReady(ready, strings.HasPrefix(where, "binary-v2:")); err != nil {
		_ = l.process.Kill()
		return nil, err
	}
	return l, nil
}

func (l *logger) waitReady(ready *os.File, sayso bool) error {
	if err := ready.SetReadDeadline(time.Now().Add(readyTimeout)); err != nil {
		return err
	}
	n, err := ready.Read(make([]byte, 1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the logging program %s has not said within %s that it is ready: it must write a byte to descriptor 5, or close it", l.name, readyTimeout)
	case err != nil && err != io.EOF:
		return fmt.Errorf("the logging program %s: %w", l.name, err)
	case n == 0 && sayso:
		return fmt.Errorf("the logging program %s has ended, or closed descriptor 5 without the byte that says it is ready", l.name)
	}
	return nil
}

// queryArgs turns a query into arguments: each key, and each value behind its key.
func queryArgs(query string) (args []string, err error) {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		for _, part := range []string{key, value} {
			if part, err = url.QueryUnescape(part); err != nil {
				return nil, err
			}
			args = append(args, part)
		}
	}
	return args, nil
}

// closeUnused closes the ends that nobody writes to.
func (l *logger) closeUnused() {
	for i, output := range l.outputs {
		if output != nil {
			output.Close()
			l.outputs[i] = nil
		}
	}
}

// end waits until the program has ended, as it does at the end of its input.
// When ctx ends it is asked to, and then made to.
func (l *logger) end(ctx context.Context, log *log.Entry) {
	l.closeUnused()
	var asked, made <-chan time.Time
	told := ctx.Done()
	for {
		select {
		case exit, first := <-l.exited:
			if first && exit.Status != 0 {
				log.WithField("status", exit.Status).Warnf("logging program %s failed", l.name)
			}
			return
		case <-told:
			told, asked = nil, time.After(loggerGrace)
			log.Warnf("logging program %s does not end by itself", l.name)
			_ = l.process.Signal(syscall.SIGTERM) // it may have ended just now
		case <-asked:
			asked, made = nil, time.After(loggerGrace)
			_ = l.process.Kill()
		case <-made:
			log.Warnf("logging program %s cannot be killed", l.name)
			return
		}
	}
}
