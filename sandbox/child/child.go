// Package child is the life of a sandbox process: from its first instruction,
// as a child of the shim, to the exit of the guest.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/seccomp"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// exitSetup is the exit code of a process that ended before its guest began,
// the one that `docker run` gives for an error of the engine itself.
const exitSetup = 125

// Main lives the process's life and returns its exit code: a sandbox's, that of a
// process that compiles, or that of one that holds a pod's namespaces, as the name
// says by which the parent has called it. The calling goroutine must be the main one.
func Main() int {
	// Armed here and not by the fork, which takes a parent outside of the pid
	// namespace, whose id is 0 in here, for a dead one. Where the parent has died
	// already, the control socket says so.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "wasm-sandbox: parent-death signal:", err)
		return exitSetup
	}
	control := os.NewFile(wire.ControlFD, "control")
	switch os.Args[0] {
	case wire.Compiler:
		return compile(control)
	case wire.Holder:
		return hold(control)
	}
	return run(control)
}

// run is the life of a sandbox.
func run(control *os.File) int {
	if err := endOnSignals(); err != nil {
		fmt.Fprintln(os.Stderr, "wasm-sandbox: installing signal handlers:", err)
		return exitSetup
	}
	var setup wire.Setup
	if code, ok := receive(control, &setup); !ok {
		return code
	}
	instance, err := prepare(control, &setup)
	report := wire.Report{}
	if err != nil {
		report.Error = err.Error()
	}
	if wire.Send(control, report) != nil || err != nil {
		return exitSetup
	}
	if !waitForStart(control) {
		return exitSetup
	}
	return instance.Run(context.Background())
}

// receive reads the parent's first message; where there is none, it returns the
// exit code.
func receive(control *os.File, message any) (code int, ok bool) {
	err := wire.Receive(control, message)
	// At its end the parent has ended, and nobody is left to tell.
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "wasm-sandbox: this program is started by containerd-shim-wasm-v1 and cannot be used alone:", err)
	}
	return exitSetup, err == nil
}

// prepare does everything that can fail: it makes the process the container
// and loads the module into it.
func prepare(control *os.File, setup *wire.Setup) (*engine.Instance, error) {
	if !setup.Inside {
		if err := jail.EnterRootfs(setup.Spec, setup.Rootfs, given(control)); err != nil {
			return nil, err
		}
	}
	// Found while the process may still read every file of the image, as the
	// kernel finds a program that it executes.
	name, artifact, offset, err := fetch(control, setup.Module)
	if err != nil {
		return nil, err
	}
	// While the process may still use the ports that are root's.
	listeners, err := listen(setup.Module.Listen)
	if err != nil {
		return nil, err
	}
	if err := jail.DropPrivileges(setup.Spec); err != nil {
		return nil, err
	}
	if err := filterCalls(setup); err != nil {
		return nil, err
	}
	return engine.Load(context.Background(), engine.Config{
		Name:           name,
		Artifact:       artifact,
		ArtifactOffset: offset,
		Function:       setup.Module.Function,
		Args:           setup.Module.Args,
		Env:            environment(setup.Spec.Process),
		MemoryLimit:    setup.MemoryLimit,
		Listeners:      listeners,
	})
}

// given receives the mounts that the parent makes.
func given(control *os.File) jail.Given {
	return func(i int) (*os.File, error) {
		var message wire.Mount
		mount, err := wire.ReceiveFile(control, &message)
		if err != nil {
			return nil, err
		}
		if mount == nil || message.Index != i {
			mount.Close()
			return nil, fmt.Errorf("the parent gave mounts[%d] in its place", message.Index)
		}
		return mount, nil
	}
}

// filterCalls puts the process under the filter of every sandbox and the spec's.
// No byte of the module has been looked at before.
func filterCalls(setup *wire.Setup) error {
	filter, err := seccomp.Sandbox(setup.Filter, len(setup.Module.Listen) > 0)
	if err == nil {
		err = seccomp.Install(filter, setup.FilterFlags)
	}
	if err != nil && len(setup.Filter) > 0 {
		return fmt.Errorf("linux.seccomp: %w", err)
	}
	if err != nil {
		return fmt.Errorf("the sandbox's system-call filter: %w", err)
	}
	return nil
}

// environment is the spec's, and PWD where the spec has none: WASI knows no
// working directory, and guests learn theirs from that variable.
func environment(process *specs.Process) []string {
	for _, entry := range process.Env {
		if strings.HasPrefix(entry, "PWD=") {
			return process.Env
		}
	}
	return append(process.Env[:len(process.Env):len(process.Env)], "PWD="+process.Cwd)
}

// waitForStart blocks until the parent says that the guest shall run, which it
// does with one byte, and lets go of the control socket. It returns false
// where the parent has ended instead.
func waitForStart(control *os.File) bool {
	var start [1]byte
	n, _ := control.Read(start[:])
	control.Close()
	return n == 1
}
