package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/layer"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/log"
)

// killTimeout is how long a killed process may take to be gone. Death is quick
// unless the kernel holds the process in an uninterruptible call.
const killTimeout = 10 * time.Second

// launched is a process that has come to be, blocked with its module loaded or,
// beside an error, about to be gone.
type launched struct {
	guest guest // nil beside an error
	pid   int   // 0 where no process came to be
	// exited has the exit when it comes, and is closed after it. It is nil where
	// no process came to be.
	exited <-chan runc.Exit
}

// launch makes a process with the standard streams io. enter puts it into the
// container's cgroup, in which it then does all its work.
func (s *wasm) launch(ctx context.Context, p *process, module oci.Module, io *stdio, cfg sandbox.Config, enter func(pid int) error) (l launched, err error) {
	cfg.ID, cfg.Spec = p.container.id, p.spec
	cfg.Stdin, cfg.Stdout, cfg.Stderr = io.theirs()
	cfg.Terminal = p.streams.terminal
	cfg.MemoryLimit = memoryLimit(p.container.spec)
	cfg.RootfsLayers = p.container.layers
	cfg.CacheDir, cfg.CacheSize = p.container.options.Cache()
	cfg.CompileTimeout = p.container.options.CompileLimit()
	cfg.Module = sandbox.Module{Paths: module.Paths, Function: module.Function, Args: module.Args, Listen: module.Listen}
	if module.Layer != nil {
		cfg.Module.Name, cfg.Layer = module.Layer.String(), layer.Of(s.images, module.Layer, cfg.CacheDir)
	}
	cfg.Warn = func(err error) { p.log().Warn(err) }
	var inside guest
	kills := uint64(0)
	if c := p.container; p != c.init {
		inside = c.init.guest
		if kills, err = c.group.OOMKills(); err != nil {
			return l, err
		}
	}

	launch := s.exits.begin()
	defer launch.end()
	with := func(enter func(pid int) error, pid int) error {
		if err := enter(pid); err != nil {
			return err
		}
		return p.adjustOOMScore(pid)
	}
	cfg.Joined = func(pid int) error {
		l.pid, l.exited = pid, launch.claim(pid)
		return with(enter, pid)
	}
	cfg.Compiling = func(pid int) error {
		if inside != nil {
			return with(enter, pid)
		}
		return with(p.container.group.Join, pid) // where the first process is already
	}
	l.guest, err = s.backend.launch(ctx, cfg, inside)
	io.handedOver()
	if err == nil {
		return l, nil
	}
	l.guest = nil
	// As the sandbox process says it of a module that is nowhere.
	if module.Note != "" && strings.Contains(err.Error(), "no such file or directory in the container") {
		err = fmt.Errorf("%w; %s", err, module.Note)
	}
	if errors.Is(err, sandbox.ErrEnded) || errors.Is(err, sandbox.ErrCompilerEnded) {
		err = p.container.explainEnd(l.exited, kills, err)
	}
	return l, err
}

// explainEnd says why a process ended on its own while its module was compiled
// and loaded.
// Before it was launched, the kernel had killed so many for want of memory.
func (c *container) explainEnd(exited <-chan runc.Exit, before uint64, err error) error {
	if kills, oomErr := c.group.OOMKills(); oomErr == nil && kills > before {
		limit := "its memory limit"
		if m := memoryLimit(c.spec); m > 0 {
			limit = fmt.Sprintf("its memory limit of %d bytes (linux.resources.memory.limit)", m)
		}
		return fmt.Errorf("out of memory: compiling the module took more than %s; raise it", limit)
	}
	if errors.Is(err, sandbox.ErrCompilerEnded) {
		return err
	}
	select {
	case exit := <-exited:
		if sig := syscall.Signal(exit.Status - 128); exit.Status > 128 {
			return fmt.Errorf("%w: killed by signal %d (%s)", err, sig, sig)
		}
		return fmt.Errorf("%w: exit code %d", err, exit.Status)
	case <-time.After(killTimeout):
		return err
	}
}

// abandon ends a process that is not to run and waits until it is gone.
func (l launched) abandon(log *log.Entry) {
	if l.guest != nil {
		if err := l.guest.Signal(syscall.SIGKILL); err != nil && !ended(err) {
			log.WithError(err).Warn("process of a failed launch not killed")
		}
	}
	if l.exited != nil {
		select {
		case <-l.exited:
		case <-time.After(killTimeout):
			log.WithField("pid", l.pid).Warn("process of a failed launch does not end")
		}
	}
	if l.guest != nil {
		if err := l.guest.Close(); err != nil {
			log.WithError(err).Warn("process of a failed launch not let go of")
		}
	}
}

// adjustOOMScore gives process pid the spec's oom_score_adj. To lower a score
// takes CAP_SYS_RESOURCE, which a shim in a container may lack; the process
// then runs with the score it has, as under runc in a user namespace.
func (p *process) adjustOOMScore(pid int) error {
	score := p.oomScore()
	if score == nil {
		return nil
	}
	err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(*score)), 0)
	switch {
	case errors.Is(err, os.ErrPermission):
		p.log().WithError(err).Warnf("process.oomScoreAdj stays as inherited instead of %d", *score)
		return nil
	case err != nil:
		return fmt.Errorf("process.oomScoreAdj %d: %w", *score, err)
	}
	return nil
}

// oomScore is the process's own or else the container's; nil if neither has one.
func (p *process) oomScore() *int {
	if p.spec.Process != nil && p.spec.Process.OOMScoreAdj != nil {
		return p.spec.Process.OOMScoreAdj
	}
	if first := p.container.spec.Process; first != nil {
		return first.OOMScoreAdj
	}
	return nil
}
