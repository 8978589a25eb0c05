// Package sandbox starts the process that becomes a container.
package sandbox

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Module says which module a sandbox runs.
type Module = wire.Module

// Config says what a sandbox shall be.
type Config struct {
	// ID is the container's id, for error messages.
	ID string
	// Spec is the container's runtime spec.
	Spec *specs.Spec
	// Rootfs is the absolute path of the mounted root file system.
	Rootfs string
	// Module is what runs.
	Module Module
	// Stdin, Stdout and Stderr become descriptors 0 to 2; nil means /dev/null.
	// The caller keeps them and may close them once Create has returned.
	Stdin, Stdout, Stderr *os.File
	// CgroupDir, where it is not nil, is a cgroup v2 directory in which the
	// process is born (CLONE_INTO_CGROUP).
	CgroupDir *os.File
	// Joined is called with the new process's pid while it is still blocked and
	// has done no work: the caller puts it into its cgroup. An error ends Create.
	Joined func(pid int) error
}

// Process is one sandbox process. It is a child of this process, which the
// caller's reaper waits for; Process itself never reaps.
type Process struct {
	Pid int
}

// Create starts a process, makes it the container and loads its module; it
// returns once the process is ready and blocked. On error nothing is left but
// a killed child for the reaper. The error is a sentence for the person who
// asked for the container.
func Create(ctx context.Context, cfg Config) (*Process, error) {
	return nil, errors.New("not written yet")
}

// Start lets the module's entry function run. It may be called once.
func (p *Process) Start() error { return errors.New("not written yet") }

// Signal sends sig to the process; os.ErrProcessDone where it has ended.
func (p *Process) Signal(sig syscall.Signal) error { return errors.New("not written yet") }

// Close lets go of what the parent holds of the process; it does not end it.
func (p *Process) Close() error { return nil }
