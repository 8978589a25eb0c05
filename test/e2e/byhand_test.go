package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCtrExec runs further processes as a user does who has ctr alone.
func TestCtrExec(t *testing.T) {
	leavesNothing(t)
	b := sleeper(t)
	run := func(id, stdin string, args ...string) result {
		t.Helper()
		return ctrWithStdin(t, strings.NewReader(stdin), append([]string{"task", "exec", "--exec-id", id, b.ID()}, args...)...)
	}
	run("seven", "", "/exit.wasm", "7").wantCode(t, 7)
	r := run("copy", "to and fro\n", "/cat.wasm")
	r.wantCode(t, 0)
	r.wantStdout(t, "to and fro\n")
	r = run("none", "", "/bin/sh")
	if r.code == 0 {
		t.Errorf("a program that is not there ran: %s", r)
	}
	r.wantStderr(t, "/bin/sh")
	if got := mustCtr(t, "task", "ls"); !strings.Contains(got, b.ID()) {
		t.Errorf("the container is not in the list after its further processes ended: %s", got)
	}
}

// TestCtrTerminal types at a guest: lines, the end of the input, and ^C, which
// ctr hands on for the container's own terminal to make a signal of.
func TestCtrTerminal(t *testing.T) {
	t.Run("lines", func(t *testing.T) {
		leavesNothing(t)
		s := openSession(t, "cat")
		s.types(t, "hello\n")
		s.shown.waitFor(t, "hello\r\nhello\r\n") // the terminal's echo, then the guest's
		s.types(t, "\x04")
		s.wantCode(t, 0)
	})
	t.Run("interrupt", func(t *testing.T) {
		leavesNothing(t)
		s := openSession(t, "spin")
		s.shown.waitFor(t, "spinning")
		s.types(t, "\x03")
		s.wantCode(t, 130)
	})
}

// session is `ctr run --rm --tty` at a terminal that the test types at.
type session struct {
	keyboard *os.File
	shown    *output
	code     chan int // ctr's exit code, once
}

func openSession(t *testing.T, guest string) *session {
	t.Helper()
	ours, theirs, err := openTerminal()
	if err == nil {
		// ctr leaves the treatment of output on; that is up to the container's terminal.
		err = plainOutput(int(ours.Fd()))
	}
	if err != nil {
		t.Fatalf("open a terminal: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scaled(60*time.Second))
	cmd := engine.Ctr(ctx, "run", "--rm", "--tty", "--runtime", wasmRuntime, imageName(guest), newID(t))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = errors.Join(cmd.Start(), theirs.Close())
	if err != nil {
		t.Fatal(err)
	}
	s := &session{keyboard: ours, shown: &output{}, code: make(chan int, 1)}
	go func() {
		cmd.Wait() // its error is the code
		s.code <- cmd.ProcessState.ExitCode()
	}()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		io.Copy(s.shown, ours) // ends with EIO once the other side is closed
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the terminal shows %q", s.shown)
		}
		cancel()
		<-copied
		ours.Close()
	})
	return s
}

// types waits until ctr hands every key on, as it does once it has made the
// terminal raw.
func (s *session) types(t *testing.T, text string) {
	t.Helper()
	eventually(t, "ctr makes the terminal raw", func() bool {
		settings, err := unix.IoctlGetTermios(int(s.keyboard.Fd()), unix.TCGETS)
		return err == nil && settings.Lflag&unix.ICANON == 0
	})
	if _, err := s.keyboard.WriteString(text); err != nil {
		t.Fatalf("type %q: %v", text, err)
	}
}

func (s *session) wantCode(t *testing.T, want int) {
	t.Helper()
	if code := <-s.code; code != want {
		t.Fatalf("ctr ended with %d, not %d; the terminal shows %q", code, want, s.shown)
	}
}

// openTerminal makes a terminal (pty(7)); who types has the first of its ends.
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(ours.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// plainOutput makes a terminal show what is written to it as it is.
func plainOutput(fd int) error {
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	settings.Oflag &^= unix.ONLCR
	return unix.IoctlSetTermios(fd, unix.TCSETS, settings)
}
