package task

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// terminal is the shim's end of a pseudoterminal, pty(7).
type terminal struct {
	master *os.File // polled, so that goroutines can wait for it
}

// openTerminal makes a terminal the process's standard streams, and carries
// between it and those that have been opened for the process.
func (s *stdio) openTerminal() error {
	in, out := s.process[0], s.process[1]
	terminal, slave, err := newTerminal(s.cfg.size, s.cfg.owner)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	s.terminal = terminal
	s.process = [3]*os.File{slave, slave, slave}
	if in != nil {
		s.sources = append(s.sources, in)
		go terminal.takeInput(in)
	}
	s.copies.Go(func() {
		// The end of what the terminal has is an error, EIO: nobody has the other
		// end open any more.
		if out == nil {
			carry(io.Discard, terminal.master)
			return
		}
		carry(out, terminal.master)
		out.Close()
	})
	if out != nil {
		// A reader that has stalled must not keep the goroutine for ever.
		go func() {
			<-s.cut
			out.Close()
		}()
	}
	return nil
}

// newTerminal makes a pseudoterminal; the caller closes the slave, the process's end.
func newTerminal(size *specs.Box, owner int) (_ *terminal, slave *os.File, err error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	t := &terminal{master: master}
	defer func() {
		if err != nil {
			t.close()
			if slave != nil {
				slave.Close()
			}
		}
	}()
	err = t.control(func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		// By the master and not by a path, which could be another file system's.
		peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			return errno
		}
		slave = os.NewFile(peer, "terminal")
		return nil
	})
	if err == nil && size != nil {
		err = t.resize(*size)
	}
	if err != nil {
		return nil, slave, err
	}
	if err := giveTo(owner, slave); err != nil {
		return nil, slave, err
	}
	return t, slave, nil
}

// control calls f with the master's descriptor, which keeps its mode.
func (t *terminal) control(f func(fd int) error) error {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	if controlErr := conn.Control(func(fd uintptr) { err = f(int(fd)) }); controlErr != nil {
		return controlErr
	}
	return err
}

func (t *terminal) resize(size specs.Box) error {
	return t.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)})
	})
}

// takeInput carries what is typed. Where that ends, a guest that reads lines is
// told as by a user: with the terminal's end-of-file character, once where a line
// has just ended and twice where not (termios(3), VEOF).
func (t *terminal) takeInput(in *os.File) {
	defer in.Close()
	last, err := carry(t.master, in)
	if err != nil {
		return // the process has ended, or the terminal has
	}
	_ = t.control(func(fd int) error {
		settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil || settings.Lflag&unix.ICANON == 0 {
			return err
		}
		end := []byte{settings.Cc[unix.VEOF], settings.Cc[unix.VEOF]}
		if last == '\n' || last == 0 {
			end = end[:1]
		}
		_, err = unix.Write(fd, end)
		return err
	})
}

// close may be called again, and of nil.
func (t *terminal) close() {
	if t != nil {
		t.master.Close()
	}
}

// resize changes the size of the terminal, in characters.
func (s *stdio) resize(size specs.Box) error {
	if s.terminal == nil {
		return nil
	}
	if err := s.terminal.resize(size); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

var buffers = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// carry copies until the end of from, for which it returns no error, and returns
// the last byte that it has seen, 0 for none.
func carry(to io.Writer, from io.Reader) (last byte, err error) {
	buffer := buffers.Get().(*[16 << 10]byte)
	defer buffers.Put(buffer)
	for {
		n, err := from.Read(buffer[:])
		if n > 0 {
			last = buffer[n-1]
			if _, err := to.Write(buffer[:n]); err != nil {
				return last, err
			}
		}
		if err == io.EOF {
			return last, nil
		}
		if err != nil {
			return last, err
		}
	}
}
