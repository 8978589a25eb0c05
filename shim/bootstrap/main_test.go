package bootstrap

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// shimBinary is the program under test, built by TestMain.
var shimBinary string

// TestMain runs the tests as root in a mount namespace of their own, whose /run
// is empty: the shim's sockets have a fixed place there.
func TestMain(m *testing.M) {
	const inside = "SHIM_TEST_INSIDE"
	if dir := os.Getenv(inside); dir != "" {
		os.Unsetenv(inside)
		shimBinary = filepath.Join(dir, "containerd-shim-wasm-v1")
		if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
			fmt.Fprintln(os.Stderr, "mount /run:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	os.Exit(runInside(inside))
}

func runInside(variable string) int {
	dir, err := os.MkdirTemp("", "shim")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir, "../../cmd/containerd-shim-wasm-v1")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the shim:", err)
		return 1
	}
	// Descendants of a killed test run end with it.
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), variable+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runShim runs the program to its end, in dir, and returns what it wrote.
func runShim(t *testing.T, dir string, env []string, stdin []byte, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shimBinary, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}
