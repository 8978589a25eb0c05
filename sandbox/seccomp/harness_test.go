package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// probe is a system call that a filter is tried on.
type probe struct {
	number uintptr
	args   [6]uintptr
}

// TestMain is also the process that puts itself under a filter: installing one
// cannot be undone.
func TestMain(m *testing.M) {
	if encoded := os.Getenv("SECCOMP_TEST_FILTER"); encoded != "" {
		tryProbes(encoded, os.Args[1:])
	}
	os.Exit(run(m))
}

// testProgram is what runs under filters: this one, built without cgo. The C library
// needs calls that Go does not, and the race detector brings it in.
var testProgram = os.Args[0]

func run(m *testing.M) int {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); errno == syscall.ENOTSUP {
		dir, err := os.MkdirTemp("", "seccomp-test")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		testProgram = filepath.Join(dir, "seccomp.test")
		build := exec.Command("go", "test", "-c", "-race=false", "-o", testProgram, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("building the tests without cgo: %v: %s", err, out))
		}
	}
	return m.Run()
}

// tryProbes installs the filter and prints the errno of each probe.
func tryProbes(encoded string, probes []string) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	name, given, _ := strings.Cut(encoded, " ")
	var filter []unix.SockFilter
	var err error
	switch name {
	case "sandbox":
		filter, err = Sandbox(decode(given), false)
	case "listener":
		filter, err = Sandbox(nil, true)
	case "compiler":
		filter, err = Compiler()
	default:
		filter = decode(encoded)
	}
	if err == nil {
		err = Install(filter, 0)
	}
	if err != nil {
		panic(err)
	}
	if len(probes) == 1 && probes[0] == "code" {
		mapCode()
		os.Exit(0)
	}
	for _, text := range probes {
		var n [7]uintptr
		for i, word := range strings.Split(text, ",") {
			v, err := strconv.ParseUint(word, 10, 64)
			if err != nil {
				panic(err)
			}
			n[i] = uintptr(v)
		}
		_, _, errno := unix.RawSyscall6(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
		fmt.Println(int(errno))
	}
	os.Exit(0)
}

func decode(encoded string) (filter []unix.SockFilter) {
	for text := range strings.FieldsSeq(encoded) {
		var i unix.SockFilter
		if _, err := fmt.Sscanf(text, "%d,%d,%d,%d", &i.Code, &i.Jt, &i.Jf, &i.K); err != nil {
			panic(err)
		}
		filter = append(filter, i)
	}
	return filter
}

// underCommand is the program under a filter, which tries the probe.
func underCommand(filter, probe string, files ...*os.File) *exec.Cmd {
	cmd := exec.Command(testProgram)
	cmd.Env = []string{"SECCOMP_TEST_FILTER=" + filter, "GODEBUG=decoratemappings=0,containermaxprocs=0,updatemaxprocs=0"}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	if probe != "" {
		cmd.Args = append(cmd.Args, probe)
	}
	return cmd
}

// under tries the probes in a process under the filter and returns their errnos.
func under(t *testing.T, filter string, probes []probe) []unix.Errno {
	t.Helper()
	cmd := underCommand(filter, "")
	for _, p := range probes {
		text := fmt.Sprint(p.number)
		for _, arg := range p.args {
			text += "," + strconv.FormatUint(uint64(arg), 10)
		}
		cmd.Args = append(cmd.Args, text)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the process under the filter: %v", err)
	}
	var errnos []unix.Errno
	for _, word := range strings.Fields(string(out)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		errnos = append(errnos, unix.Errno(n))
	}
	if len(errnos) != len(probes) {
		t.Fatalf("%d answers to %d probes:\n%s", len(errnos), len(probes), out)
	}
	return errnos
}
