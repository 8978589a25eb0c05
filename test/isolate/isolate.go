// Package isolate runs a test program in PID and mount namespaces of its own,
// so that a containerd started by it, the shims and the containers of that
// containerd cannot outlive it, and its mounts and its /run/containerd are
// never seen by the machine.
package isolate

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	stageVar = "ISOLATE_STAGE"
	dirVar   = "ISOLATE_DIR"

	stageInit = "init"
	stageMain = "main"
)

// A Namespace is one that a program may have of its own beside those that every
// program has.
type Namespace uintptr

// Network has a loopback device and no other.
const Network Namespace = unix.CLONE_NEWNET

// Enter moves the program into namespaces of its own, into further ones if it
// names them. It is called before anything else, needs root, and returns only in
// the process inside, with an empty folder that is removed when the program ends. The folder's base name
// starts with name, is unique, and serves as the containerd namespace: control
// groups below /<base name> are removed too.
//
// The program runs as three processes. The outer one starts the second and
// cleans up, however that ends. The second is pid 1 inside and reaps; with it
// the kernel kills all that is left. The third is the one that returns here.
func Enter(name string, further ...Namespace) (dir string) {
	switch os.Getenv(stageVar) {
	case "":
		os.Exit(outside(name, further))
	case stageInit:
		os.Exit(initProcess(slices.Contains(further, Network)))
	}
	dir = os.Getenv(dirVar)
	os.Unsetenv(stageVar)
	os.Unsetenv(dirVar)
	return dir
}

func outside(name string, further []Namespace) int {
	// The parent-death signal is bound to the thread that forks.
	runtime.LockOSThread()
	code, err := runOutside(name, further)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return max(code, 1)
	}
	return code
}

func runOutside(name string, further []Namespace) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("needs root, to start a containerd and its containers")
	}
	dir, err := os.MkdirTemp("", name+"-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// MkdirTemp's mode would hide the rootfs from a container's user.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	for _, folder := range []string{runDir, dockerDir, cacheDir} {
		release, err := claim(folder)
		if err != nil {
			return 1, err
		}
		defer release()
	}
	defer func() { err = errors.Join(err, removeCgroups(filepath.Base(dir))) }()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)

	cmd := again(stageInit, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS, // which makes every mount private, too
		Pdeathsig:    unix.SIGKILL,
		Setpgid:      true, // Ctrl-C is for the outer process alone
	}
	for _, n := range further {
		cmd.SysProcAttr.Cloneflags |= uintptr(n)
	}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start in new namespaces: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
		return cmd.ProcessState.ExitCode(), nil
	case s := <-signals:
		fmt.Fprintf(os.Stderr, "\n%s: %v, cleaning up\n", name, s)
		cmd.Process.Kill()
		<-done
		return 128 + int(s.(syscall.Signal)), nil
	}
}

func initProcess(network bool) int {
	for _, m := range []struct{ fstype, target string }{{"proc", "/proc"}, {"tmpfs", runDir}, {"tmpfs", dockerDir}} {
		if err := unix.Mount(m.fstype, m.target, m.fstype, unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
			fmt.Fprintf(os.Stderr, "mount %s on %s: %v\n", m.fstype, m.target, err)
			return 1
		}
	}
	if err := mountCache(os.Getenv(dirVar)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if network {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	main := again(stageMain, os.Getenv(dirVar))
	if err := main.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			fmt.Fprintln(os.Stderr, "wait4:", err)
			return 1
		case pid != main.Process.Pid:
		case status.Signaled():
			return 128 + int(status.Signal())
		default:
			return status.ExitStatus()
		}
	}
}

// mountCache puts a folder of the program's own at cacheDir, on the file system
// on which containerd has its own, as on a machine that is used.
func mountCache(dir string) error {
	own := filepath.Join(dir, "cache")
	if err := os.Mkdir(own, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(own, cacheDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", own, cacheDir, err)
	}
	return nil
}

// loopbackUp is what a new network namespace does not have.
func loopbackUp() error {
	device, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	device.SetUint16(unix.IFF_UP)
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(socket)
		err = unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, device)
	}
	if err != nil {
		return fmt.Errorf("set the loopback device up: %w", err)
	}
	return nil
}

// again is this very program, with the same arguments, for the next stage.
func again(stage, dir string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), stageVar+"="+stage, dirVar+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}
