package bootstrap

import (
	"fmt"
	"io"
	"os"
	"os/exec"
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
	// has it.
	listenerDescriptor = 3

	ttrpcAddressVariable = "TTRPC_ADDRESS"
	schedCoreVariable    = "SCHED_CORE"
)

// start answers with the address of the shim that serves the container's group,
// and starts that shim where there is none. The working directory is the
// container's bundle. Nothing is written to stderr unless it fails: containerd
// reads both streams as one.
func start(args arguments, stdin io.Reader, stdout io.Writer) (err error) {
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
		undo = func() { os.Remove(socketPath(address)) }
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
		socket, err := listener.File()
		if err != nil {
			return err
		}
		defer socket.Close()
		daemon, err := spawn(r, socket)
		if err != nil {
			return fmt.Errorf("container %s: start the shim: %w", r.id, err)
		}
		undo = func() {
			_ = daemon.Process.Kill()
			_ = daemon.Wait()
			os.Remove(socketPath(address))
		}
		if r.options.ShimCgroup != "" {
			if err := joinCgroup(r.options.ShimCgroup, daemon.Process.Pid); err != nil {
				return fmt.Errorf("runtime option ShimCgroup: %w", err)
			}
		}
	}
	return r.answer(stdout, address)
}

// spawn starts the daemon, in a process group of its own, in the bundle's
// directory. It inherits the number of threads that containerd allows a shim
// (GOMAXPROCS) and raises its own OOM score, where the log is open to say so if
// that is refused.
func spawn(r request, listener *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-namespace", r.namespace, "-id", r.id, "-address", r.grpcAddress}
	if r.debug {
		args = append(args, "-debug")
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), ttrpcAddressVariable+"="+r.ttrpcAddress)
	cmd.ExtraFiles = []*os.File{listener} // listenerDescriptor
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	if os.Getenv(schedCoreVariable) != "" {
		// The child shares the scheduling domain of the thread that forks it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := schedcore.Create(schedcore.ProcessGroup); err != nil {
			return nil, fmt.Errorf("core scheduling, asked for by %s: %w", schedCoreVariable, err)
		}
	}
	return cmd, cmd.Start()
}
