package bootstrap

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	"github.com/containerd/containerd/v2/pkg/schedcore"
)

const (
	// addressFile is where containerd 1.6 and 1.7 look for the shim's address
	// when they come back, in the bundle's directory.
	addressFile = "address"
	// listenerDescriptor is where the daemon finds its listener, as the library
	// has it. The debug socket's is the next.
	listenerDescriptor = 3

	ttrpcAddressVariable = "TTRPC_ADDRESS"
	schedCoreVariable    = "SCHED_CORE"
)

// start answers with the address of the shim that serves the container's group,
// and starts that shim where there is none. The working directory is the
// container's bundle. Nothing is written to stderr unless it fails: containerd
// reads both streams as one.
func start(args arguments, stdin io.Reader, stdout io.Writer) (err error) {
	// If containerd is killed meanwhile, to write the answer is an error, after
	// which the daemon has to be ended, and not the end of this process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	r, err := readRequest(args, stdin)
	if err != nil {
		return err
	}
	group, err := group(".", r.id)
	if err != nil {
		return err
	}
	address, err := socketAddress(r, group)
	if err != nil {
		return err
	}
	listener, err := claim(address)
	if err != nil {
		return fmt.Errorf("container %s: %w", r.id, err)
	}
	undo := func() {}
	if listener != nil {
		defer listener.Close()
		undo = func() {
			listener.Close()
			_ = removeIfDead(address)
		}
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if err := bundle.WriteFile(addressFile, []byte(address)); err != nil {
		return fmt.Errorf("container %s: %w", r.id, err)
	}
	if listener != nil {
		if err := leaveOptions(".", r.packed); err != nil {
			return fmt.Errorf("container %s: %w", r.id, err)
		}
		daemon, output, err := spawn(r, listener)
		if err != nil {
			return fmt.Errorf("container %s: start the shim: %w", r.id, err)
		}
		defer output.Close()
		undo = func() {
			listener.Close()
			_ = daemon.Process.Kill()
			_ = daemon.Wait()
			_ = removeIfDead(address)
		}
		if r.options.ShimCgroup != "" {
			if err := joinCgroup(r.options.ShimCgroup, daemon.Process.Pid); err != nil {
				return fmt.Errorf("runtime option ShimCgroup: %w", err)
			}
		}
		if err := awaitReady(output); err != nil {
			return fmt.Errorf("container %s: start the shim: %w", r.id, err)
		}
	}
	return r.answer(stdout, address)
}

// spawn starts the daemon, in a process group of its own, in the bundle's
// directory. It inherits the number of threads that containerd allows a shim
// (GOMAXPROCS) and raises its own OOM score, where the log is open to say so if
// that is refused.
func spawn(r request, listener *net.UnixListener) (_ *exec.Cmd, output *os.File, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	args := []string{"-namespace", r.namespace, "-id", r.id, "-address", r.grpcAddress}
	listeners := []*net.UnixListener{listener} // from listenerDescriptor on
	if r.debug {
		profiles, err := listenForProfiles()
		if err != nil {
			return nil, nil, fmt.Errorf("debug socket: %w", err)
		}
		defer profiles.Close()
		args, listeners = append(args, "-debug"), append(listeners, profiles)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), ttrpcAddressVariable+"="+r.ttrpcAddress)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, l := range listeners {
		socket, err := l.File()
		if err != nil {
			return nil, nil, err
		}
		defer socket.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, socket)
	}

	if os.Getenv(schedCoreVariable) != "" {
		// The child shares the scheduling domain of the thread that forks it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := schedcore.Create(schedcore.ProcessGroup); err != nil {
			return nil, nil, fmt.Errorf("core scheduling, asked for by %s: %w", schedCoreVariable, err)
		}
	}
	output, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	cmd.Stdout, cmd.Stderr = theirs, theirs
	if err := cmd.Start(); err != nil {
		output.Close()
		return nil, nil, err
	}
	return cmd, output, nil
}
