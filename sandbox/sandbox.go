// Package sandbox starts the process that becomes a container. It is the
// parent's side; packages child, jail and engine below it are the process's.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/modulefile"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/seccomp/profile"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Module says which module a sandbox runs.
type Module = wire.Module

// MaxModule bounds a module, in bytes.
const MaxModule = modulefile.MaxSize

// Config says what a sandbox shall be.
type Config struct {
	// ID is the container's id, for error messages.
	ID string
	// Spec is the container's runtime spec.
	Spec *specs.Spec
	// Rootfs is the absolute path of the mounted root file system.
	Rootfs string
	// Inside, where it is not nil, is a living process whose container the new
	// one joins: all its namespaces and with them its root file system. Of Spec,
	// only the process counts then, and Rootfs does not.
	Inside *Process
	// Module is what runs.
	Module Module
	// Stdin, Stdout and Stderr become descriptors 0 to 2; nil means /dev/null.
	// The caller keeps them and may close them once Create has returned.
	Stdin, Stdout, Stderr *os.File
	// Terminal says that Stdin is a terminal, which becomes the controlling one
	// of the process's session.
	Terminal bool
	// CgroupDir, where it is not nil, is a cgroup v2 directory in which the
	// process is born (CLONE_INTO_CGROUP). The caller keeps it.
	CgroupDir *os.File
	// RootfsLayers, where Rootfs is an overlay, are the absolute paths of the
	// directories that it is made of, the one that is written to first. Without
	// them, its files are read at each start to be known again.
	RootfsLayers []string
	// Layer is the module's content where Module has no paths.
	Layer *Layer
	// MemoryLimit is that of the container's cgroup, in bytes; 0 where it has none.
	MemoryLimit int64
	// CacheDir is the folder of the cache of artifacts, which is to have at most
	// CacheSize bytes. Empty has each container compile for itself alone.
	CacheDir  string
	CacheSize int64
	// CompileTimeout bounds how long a module may take to compile; 0 is no bound.
	CompileTimeout time.Duration
	// Compiling is called as Joined is, for a process that compiles the module.
	Compiling func(pid int) error
	// Warn is told why the cache could not be used; nil is not.
	Warn func(error)
	// Joined is called with the new process's pid while the process is still
	// blocked and has done no work: the caller puts it into its cgroup. An error
	// ends Create.
	Joined func(pid int) error
}

// ErrEnded says that a sandbox process ended before it was ready and without a
// word: it was killed, by the kernel for want of memory, say, or it crashed.
var ErrEnded = errors.New("the sandbox process ended before the module was loaded")

// ErrCompilerEnded says likewise that the process that compiled the module ended.
var ErrCompilerEnded = errors.New("the process that compiles the module ended before it was through")

// Process is one sandbox process. It is a child of this process, which the
// caller's reaper waits for; Process itself never reaps. Its methods may be
// called concurrently.
type Process struct {
	pid     int
	handle  *handle
	control *os.File
}

// Create starts a process, makes it the container and loads its module. It
// returns once the process is ready and blocked, which may take as long as the
// module takes to compile; cancelling ctx ends it sooner. On error nothing is
// left but a killed child for the reaper. The error is a sentence for the
// person who asked for the container; where the process ended without a word
// it is ErrEnded.
func Create(ctx context.Context, cfg Config) (*Process, error) {
	if err := jail.Validate(cfg.Spec); err != nil {
		return nil, err
	}
	filter, err := profile.Compile(cfg.Spec.Linux.Seccomp)
	if err != nil {
		return nil, err
	}
	setup := wire.Setup{ID: cfg.ID, Spec: cfg.Spec, Rootfs: cfg.Rootfs, Inside: cfg.Inside != nil, Module: cfg.Module, MemoryLimit: cfg.MemoryLimit}
	if filter != nil {
		setup.Filter, setup.FilterFlags = filter.Instructions, filter.Flags
	}
	return begin(ctx, &cfg, programName, func(p *Process) error {
		err := p.converse(ctx, &cfg, setup)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("the module was still being loaded: %w", context.Cause(ctx))
		}
		return err
	})
}

// begin starts a process by one of its names, lets the caller put it into its
// cgroup, and then has it told what to become. When ctx ends, so does the talk.
func begin(ctx context.Context, cfg *Config, name string, talk func(*Process) error) (_ *Process, err error) {
	control, remote, err := socketpair()
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	pid, pidfd, err := start(cfg, name, remote)
	remote.Close()
	if err != nil {
		control.Close()
		return nil, err
	}
	p := &Process{pid: pid, handle: newHandle(pid, pidfd), control: control}
	defer func() {
		if err != nil {
			_ = p.Signal(unix.SIGKILL)
			p.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if cfg.Joined != nil {
		if err := cfg.Joined(pid); err != nil {
			if p.handle.ended() {
				// What could not be done to it was so for this reason.
				return nil, ErrEnded
			}
			return nil, err
		}
	}
	if err := talk(p); err != nil {
		return nil, err
	}
	return p, nil
}

// converse tells the process what to become, gives it the artifact of its module,
// and returns once it is ready.
func (p *Process) converse(ctx context.Context, cfg *Config, setup wire.Setup) error {
	control := p.control
	var found, ready wire.Report
	if err := wire.Send(control, setup); err != nil {
		return conversationError(err)
	}
	if !setup.Inside {
		if err := p.sendMounts(setup.Spec); err != nil {
			return err
		}
	}
	file, err := wire.ReceiveFile(control, &found)
	if err != nil {
		return conversationError(err)
	}
	if file != nil {
		defer file.Close()
	}
	if found.Error != "" {
		return errors.New(found.Error)
	}
	if (file == nil) != (len(cfg.Module.Paths) == 0) {
		return errors.New("the sandbox process named no module")
	}
	r := request{Config: cfg, name: found.Path, settings: found.Settings, file: file, hash: func() (string, error) {
		var d wire.Digest
		err := wire.Send(control, wire.Code{Hash: true})
		if err == nil {
			err = wire.Receive(control, &d)
		}
		return d.Digest, conversationError(err)
	}}
	code, err := r.get(ctx)
	if err != nil {
		return err
	}
	err = wire.SendFile(control, wire.Code{Offset: code.offset}, code.file)
	code.file.Close()
	if err == nil {
		err = wire.Receive(control, &ready)
	}
	if err == nil && ready.Error != "" {
		return errors.New(ready.Error)
	}
	return conversationError(err)
}

// sendMounts makes the mounts that the process in its user namespace may not, and
// gives them to it.
func (p *Process) sendMounts(spec *specs.Spec) error {
	for i, m := range spec.Mounts {
		if !jail.IsGiven(spec, m) {
			continue
		}
		mount, err := jail.Bind(m, p.pid)
		if err != nil {
			return fmt.Errorf("mounts[%d]: bind %s on %s: %w", i, m.Source, m.Destination, err)
		}
		err = wire.SendFile(p.control, wire.Mount{Index: i}, mount)
		mount.Close()
		if err != nil {
			return conversationError(err)
		}
	}
	return nil
}

// conversationError is what an error of the control socket of a sandbox process
// means.
func conversationError(err error) error { return socketError(err, ErrEnded) }

// socketError is ended where the peer has.
func socketError(err, ended error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return ended
	}
	return fmt.Errorf("talking to the sandbox process: %w", err)
}

// Pid returns the process's id, in this process's pid namespace.
func (p *Process) Pid() int { return p.pid }

// Start lets the module's entry function run. It may be called once.
func (p *Process) Start() error {
	if _, err := p.control.Write([]byte{1}); err != nil {
		if errors.Is(err, syscall.EPIPE) {
			return os.ErrProcessDone
		}
		return err
	}
	return p.control.Close()
}

// Signal sends sig to the process; os.ErrProcessDone where it has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.handle.signal(sig) }

// Close lets go of what the parent holds of the process, which Signal then
// calls ended. A process that has not been started ends.
func (p *Process) Close() error {
	p.handle.close()
	if err := p.control.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// socketpair returns the two ends of the control socket: the parent's, with
// deadlines, and the process's, which blocks.
func socketpair() (local, remote *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}
