package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that serves at a socket.
type process struct {
	name string
	log  string // the file with its output
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of cmd.Wait; valid once done is closed
}

// serve starts a program with its output going to the file log, and waits until
// it answers at the socket or ctx ends.
func serve(ctx context.Context, cmd *exec.Cmd, socket, log string) (*process, error) {
	output, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p := &process{name: filepath.Base(cmd.Path), log: log, cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := p.waitReady(ctx, socket); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *process) waitReady(ctx context.Context, socket string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %v; the end of its log:\n%s", p.name, p.err, p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer at %s: %w; the end of its log:\n%s", p.name, socket, ctx.Err(), p.logTail())
		case <-tick.C:
		}
	}
}

// Stop ends the daemon and waits for it; containers of containerd's go on.
func (p *process) Stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s had to be killed: it did not end within 20 s of SIGTERM", p.name)
	}
	return nil
}

// Pid is the daemon's.
func (p *process) Pid() int { return p.cmd.Process.Pid }

// Alive says whether the daemon still runs.
func (p *process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) logTail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(bytes.TrimSpace(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
