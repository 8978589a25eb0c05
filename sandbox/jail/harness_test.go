package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The test binary runs in three roles: started by go test, it moves into a
// mount namespace of its own, so that nothing here can touch the machine's
// mounts; there it runs the tests; and it starts itself as the container.
const roleVariable = "JAIL_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); errno == syscall.ENOTSUP {
			fail("building the tests without cgo", withoutCgo())
		}
		fail("moving into a private mount namespace", enterPrivateHost())
	case "host":
		os.Exit(m.Run())
	case "container":
		fail("container", runContainer())
	}
}

func fail(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

// withoutCgo does not return where it succeeds. Go reaches all threads of a
// program without cgo only, and the race detector, for one, brings cgo in.
func withoutCgo() error {
	dir, err := os.MkdirTemp("", "jail-test")
	if err != nil {
		return err
	}
	program := filepath.Join(dir, "jail.test")
	build := exec.Command("go", "test", "-c", "-race=false", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return fmt.Errorf("%w: %s", err, out)
	}
	opened, err := os.Open(program)
	if err == nil {
		// The program goes on without its file.
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return err
	}
	return syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", opened.Fd()), os.Args, os.Environ())
}

// enterPrivateHost does not return where it succeeds. The mounts of the new
// namespace are shared, as systemd makes those of most hosts, so that a
// container which does not cut itself off is caught.
func enterPrivateHost() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("the tests need root: %w", err)
	}
	for _, kind := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", unix.MS_REC|kind, ""); err != nil {
			return err
		}
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), roleVariable+"=host"))
}

type setup struct {
	Spec   *specs.Spec
	Rootfs string
}

// request asks the container to do one file operation; reply is the answer.
type request struct{ Op, Path, Data string }

type reply struct {
	Text  string
	List  []string
	Stat  unix.Stat_t
	Error string
	Errno syscall.Errno
}

// runContainer is the process under test.
func runContainer() error {
	in, out := json.NewDecoder(os.NewFile(3, "in")), json.NewEncoder(os.NewFile(4, "out"))
	var s setup
	if err := in.Decode(&s); err != nil {
		return err
	}
	// Privileges must be gone on every thread, so let there be some.
	for range 3 {
		go func() {
			runtime.LockOSThread()
			for path := range onThread {
				threadAnswers <- openErrno(path)
			}
		}()
	}
	err := EnterRootfs(s.Spec, s.Rootfs, nil)
	if err == nil {
		err = DropPrivileges(s.Spec)
	}
	if err != nil {
		return out.Encode(reply{Error: err.Error()})
	}
	if err := out.Encode(reply{}); err != nil {
		return err
	}
	for {
		var r request
		if err := in.Decode(&r); err != nil {
			return nil // the test is over
		}
		if r.Op == "exit" {
			return nil
		}
		answer, err := perform(r)
		if err != nil {
			answer.Error = err.Error()
			errors.As(err, &answer.Errno)
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
}

// Each of the container's further threads takes a path and says what opening it
// gave.
var (
	onThread      = make(chan string)
	threadAnswers = make(chan syscall.Errno)
)

func openErrno(path string) syscall.Errno {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		return 0
	}
	return err.(syscall.Errno)
}

func perform(r request) (a reply, err error) {
	switch r.Op {
	case "open":
		if errno := openErrno(r.Path); errno != 0 {
			err = errno
		}
	case "threads":
		for range 3 {
			onThread <- r.Path
			a.List = append(a.List, (<-threadAnswers).Error())
		}
	case "rename":
		err = unix.Rename(r.Path, r.Data)
	case "link":
		err = unix.Link(r.Path, r.Data)
	case "fifo":
		err = unix.Mkfifo(r.Path, 0o600)
	case "socket file":
		fd, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: r.Path})
	case "execute":
		err = syscall.Exec(r.Path, []string{r.Path}, nil)
	case "map":
		var f *os.File
		if f, err = os.Open(r.Path); err == nil {
			_, err = unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
			f.Close()
		}
	case "ioctl":
		var fd int
		if fd, err = unix.Open(r.Path, unix.O_RDONLY, 0); err == nil {
			_, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
			unix.Close(fd)
		}
	case "listen":
		fd, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	case "connect":
		fd, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: 7, Addr: [4]byte{127, 0, 0, 1}})
	case "connect abstract":
		fd, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: r.Path})
	case "signal":
		var pid int
		fmt.Sscan(r.Path, &pid)
		err = unix.Kill(pid, 0)
	case "read":
		var data []byte
		data, err = os.ReadFile(r.Path)
		a.Text = string(data)
	case "write":
		err = os.WriteFile(r.Path, []byte(r.Data), 0o644)
	case "openrw":
		var f *os.File
		if f, err = os.OpenFile(r.Path, os.O_RDWR, 0); err == nil {
			f.Close()
		}
	case "mkdir":
		err = os.Mkdir(r.Path, 0o755)
	case "list":
		var entries []fs.DirEntry
		entries, err = os.ReadDir(r.Path)
		for _, e := range entries {
			a.List = append(a.List, e.Name())
		}
	case "stat":
		err = unix.Stat(r.Path, &a.Stat)
	case "readlink":
		a.Text, err = os.Readlink(r.Path)
	case "getwd":
		a.Text, err = unix.Getwd()
	case "hostname":
		a.Text, err = os.Hostname()
	case "descriptors":
		entries, _ := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
				a.List = append(a.List, target)
			}
		}
	case "rlimit":
		var l unix.Rlimit
		err = unix.Getrlimit(rlimitTypes[r.Path], &l)
		a.Text = fmt.Sprint(l.Cur, l.Max)
	case "keyring":
		var id int
		id, err = unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		a.Text = fmt.Sprint(id)
	case "loopback":
		fd, _ := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
	default:
		err = fmt.Errorf("no operation %q", r.Op)
	}
	return a, err
}
