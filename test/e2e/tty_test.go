package e2e

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onTerminal runs ctr on a terminal of that size, and returns the terminal's other
// end, what it shows, and a function that waits for ctr's exit code.
func onTerminal(t *testing.T, size unix.Winsize, args ...string) (master *os.File, shown *output, wait func() int) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	slave := os.NewFile(fd, "terminal")
	defer slave.Close()
	setSize(t, master, size)

	ctx, cancel := context.WithTimeout(t.Context(), scaled(60*time.Second))
	t.Cleanup(cancel)
	cmd := engine.Ctr(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown = &output{}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		io.Copy(shown, master) //nolint:errcheck // it ends with an error, as all terminals do
	}()
	t.Cleanup(func() {
		if t.Failed() { // and the guest may wait for ever
			t.Logf("the terminal shows %q", shown)
		}
	})
	return master, shown, func() int {
		t.Helper()
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); err != nil && (ctx.Err() != nil || !errors.As(err, &exit)) {
			t.Fatalf("ctr %s: %v; the terminal shows %q", strings.Join(args, " "), errors.Join(err, ctx.Err()), shown)
		}
		<-copied
		return cmd.ProcessState.ExitCode()
	}
}

func setSize(t *testing.T, master *os.File, size unix.Winsize) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &size); err != nil {
		t.Fatal(err)
	}
}

func typeIn(t *testing.T, master *os.File, text string) {
	t.Helper()
	if _, err := master.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// TestTerminal is `ctr run -t`: the guest knows that it is on a terminal, gets
// what is typed line by line, and ends.
func TestTerminal(t *testing.T) {
	leavesNothing(t)
	args := ctrRunArgs(t, "isatty", []string{"--tty"})
	master, shown, wait := onTerminal(t, unix.Winsize{Col: 101, Row: 31}, args...)
	shown.waitFor(t, "terminals: 1 1 1\r")
	typeIn(t, master, "helo\x7flo\r") // with a typing error, which the terminal mends
	shown.waitFor(t, "told hello\r")
	typeIn(t, master, "quit\r")
	if code := wait(); code != 0 {
		t.Errorf("exit code %d; the terminal shows %q", code, shown)
	}
}

// TestConsole writes to the terminal by its name.
func TestConsole(t *testing.T) {
	for _, file := range []string{"/dev/console", "/dev/tty"} {
		t.Run(file, func(t *testing.T) {
			leavesNothing(t)
			_, shown, wait := onTerminal(t, unix.Winsize{Col: 80, Row: 24}, ctrRunArgs(t, "files", []string{"--tty"}, "write", file, "here")...)
			if code := wait(); code != 0 || !strings.Contains(shown.String(), "here") {
				t.Errorf("exit code %d; the terminal shows %q", code, shown)
			}
		})
	}
}

// TestNoTerminal has the same guest without one.
func TestNoTerminal(t *testing.T) {
	leavesNothing(t)
	r := ctrWithStdin(t, strings.NewReader("quit\n"), ctrRunArgs(t, "isatty", nil)...)
	r.wantCode(t, 0)
	r.wantStdout(t, "terminals: 0 0 0\n")
}

// TestTerminalSize has the guest's terminal follow the user's.
func TestTerminalSize(t *testing.T) {
	leavesNothing(t)
	b := withTools(t)
	exec := b.ctrExecArgs(t, []string{"--tty"}, "/tools/isatty.wasm")
	master, shown, wait := onTerminal(t, unix.Winsize{Col: 101, Row: 31}, exec...)
	shown.waitFor(t, "terminals: 1 1 1\r")
	var pid uint32
	pids, err := b.task.Pids(namespaced(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pids {
		if p.Pid != b.task.Pid() {
			pid = p.Pid
		}
	}
	eventually(t, "the guest's terminal has the size of ctr's", func() bool { return terminalSize(t, pid) == "101x31" })
	setSize(t, master, unix.Winsize{Col: 77, Row: 22})
	eventually(t, "it follows", func() bool { return terminalSize(t, pid) == "77x22" })
	typeIn(t, master, "\x04") // the end of the input, as a user has it
	if code := wait(); code != 0 {
		t.Errorf("exit code %d; the terminal shows %q", code, shown)
	}
}

// TestTerminalInterrupt ends a guest that computes for ever from the keyboard.
func TestTerminalInterrupt(t *testing.T) {
	for key, code := range map[string]int{"\x03": 130, "\x1c": 131} {
		t.Run(string("^"+string(key[0]+'@')), func(t *testing.T) {
			leavesNothing(t)
			master, shown, wait := onTerminal(t, unix.Winsize{Col: 80, Row: 24}, ctrRunArgs(t, "spin", []string{"--tty"})...)
			shown.waitFor(t, "spinning\r")
			typeIn(t, master, key)
			if got := wait(); got != code {
				t.Errorf("exit code %d, not %d; the terminal shows %q", got, code, shown)
			}
		})
	}
}
