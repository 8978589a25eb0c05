package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime returns the user time of the process's threads in ticks.
func processorTime(t *testing.T, pid int) (ticks int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	if _, err := fmt.Sscan(strings.Fields(rest)[11], &ticks); err != nil {
		t.Fatal(err)
	}
	return ticks
}

func TestSignals(t *testing.T) {
	for _, test := range []struct {
		signal syscall.Signal
		want   int
	}{
		{unix.SIGHUP, 129}, {unix.SIGINT, 130}, {unix.SIGQUIT, 131}, {unix.SIGKILL, 137}, {unix.SIGTERM, 143},
	} {
		t.Run(test.signal.String(), func(t *testing.T) {
			created := create(t, newConfig(t, spins))
			running := create(t, newConfig(t, spins))
			if err := running.Start(); err != nil {
				t.Fatal(err)
			}
			waitUntilComputing(t, running.Pid())
			for _, p := range []*Process{created, running} {
				if err := p.Signal(test.signal); err != nil {
					t.Fatal(err)
				}
				if status := wait(t, p); status != test.want {
					t.Errorf("exit status %d, want %d", status, test.want)
				}
			}
		})
	}
}

// waitUntilComputing returns once the guest's loop has used the processor for a while.
func waitUntilComputing(t *testing.T, pid int) {
	t.Helper()
	start := processorTime(t, pid)
	for range 2000 {
		if processorTime(t, pid) > start+2 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the guest never ran")
}

func TestCreateOfAKilledProcess(t *testing.T) {
	cfg := newConfig(t, exits)
	var pid int
	cfg.Joined = func(p int) error { pid = p; return unix.Kill(p, unix.SIGKILL) }
	if _, err := Create(context.Background(), cfg); !errors.Is(err, ErrEnded) {
		t.Errorf("got %v, want ErrEnded", err)
	}
	reap(t, pid)

	// What fails because the process is no more is not what went wrong.
	cfg.Joined = func(p int) error {
		pid = p
		if err := unix.Kill(p, unix.SIGKILL); err != nil {
			return err
		}
		if err := unix.Waitid(unix.P_PID, p, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			return err
		}
		return errors.New("no such process to put into the cgroup")
	}
	if _, err := Create(context.Background(), cfg); !errors.Is(err, ErrEnded) {
		t.Errorf("got %v, want ErrEnded", err)
	}
	reap(t, pid)
}

func TestCancelledCreate(t *testing.T) {
	cfg := newConfig(t, exits)
	ctx, cancel := context.WithCancel(context.Background())
	var pid int
	cfg.Joined = func(p int) error { pid = p; cancel(); return unix.Kill(p, unix.SIGSTOP) }
	if _, err := Create(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	reap(t, pid)
}

func TestDeathOfTheParent(t *testing.T) {
	if dir := os.Getenv("SANDBOX_TEST_PARENT"); dir != "" {
		cfg := newConfig(t, spins)
		p, err := Create(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("SANDBOX_TEST_START") != "" {
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "pid.tmp"), []byte(fmt.Sprint(p.Pid())), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "pid.tmp"), filepath.Join(dir, "pid")); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	for name, start := range map[string]string{"created": "", "running": "1"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			parent := exec.Command(os.Args[0], "-test.run=^TestDeathOfTheParent$")
			parent.Env = append(os.Environ(), "SANDBOX_TEST_PARENT="+dir, "SANDBOX_TEST_START="+start, "TMPDIR="+dir)
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			for range 2000 {
				if text, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil {
					fmt.Sscan(string(text), &pid)
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			pidfd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(pidfd)
			_ = parent.Process.Kill()
			_ = parent.Wait()
			fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
			if n, err := unix.Poll(fds, 10000); n != 1 || err != nil {
				t.Errorf("the process outlives its parent: %d, %v", n, err)
			}
		})
	}
}
