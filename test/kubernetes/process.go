package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs until it is stopped.
type process struct {
	name string
	log  string // its file
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of cmd.Wait; valid once done is closed
}

// start starts a program, whose output is added to NAME.log.
func (c *Cluster) start(name string, args ...string) (*process, error) {
	program, err := c.program(name)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, log: filepath.Join(c.Dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Env, p.cmd.Dir = c.environ(), c.Dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// startControl starts a program of the control plane.
func (c *Cluster) startControl(name string, args ...string) error {
	p, err := c.start(name, args...)
	if err == nil {
		c.control = append(c.control, p)
	}
	return err
}

// stop sends a signal and waits for the end.
func (p *process) stop(signal syscall.Signal) error {
	p.cmd.Process.Signal(signal)
	select {
	case <-p.done:
		return nil
	case <-time.After(20 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s had to be killed: it did not end within 20 s of %v", p.name, signal)
	}
}

// alive is an error if the process has ended.
func (p *process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %v; the end of its log:\n%s", p.name, p.err, tail(p.log))
	default:
		return nil
	}
}

func tail(log string) string {
	data, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// wait asks until the answer is no error, a process of the cluster's has ended, or
// ctx has. Every two seconds it says what it waits for.
func (c *Cluster) wait(ctx context.Context, what string, ask func() error) error {
	began, said := time.Now(), time.Now()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		ended := []error{nil}
		for _, p := range append(c.control, c.kubelet) {
			if p != nil {
				ended = append(ended, p.alive())
			}
		}
		if err := errors.Join(ended...); err != nil {
			return err
		}
		if time.Since(said) > 2*time.Second {
			said = time.Now()
			c.progress(fmt.Sprintf("waiting until %s ... %.0f s", what, time.Since(began).Seconds()))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not until %s: %w: %w", what, ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
