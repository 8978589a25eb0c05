package child

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"unsafe"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	"golang.org/x/sys/unix"
)

// hold is the life of a process that holds the namespaces of a pod: it sets them
// up and is there, until a signal or the end of its parent. As the first process
// of a pid namespace it is given the pod's orphans.
func hold(control *os.File) int {
	debug.SetGCPercent(-1) // there is nothing to collect that would be worth the collector's pages
	if err := endOnSignals(); err != nil {
		fmt.Fprintln(os.Stderr, "wasm-pod: installing signal handlers:", err)
		return exitSetup
	}
	var setup wire.Setup
	if code, ok := receive(control, &setup); !ok {
		return code
	}
	report := wire.Report{}
	program := mappedProgram()
	err := enterPod(&setup)
	if err != nil {
		report.Error = err.Error()
	}
	if wire.Send(control, report) != nil || err != nil {
		return exitSetup
	}
	rest(program)
	waitForEnd()
	return 0
}

// rest lets go of the program's pages once the Go runtime's own threads sleep. The
// kernel reads those again that are needed, of which system calls made without the
// runtime's help take the fewest.
func rest(program []pages) {
	_ = unix.Nanosleep(&unix.Timespec{Nsec: 30e6}, nil)
	for _, p := range program {
		_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, p.start, p.length, unix.MADV_DONTNEED)
	}
}

// waitForEnd blocks until the parent has ended.
func waitForEnd() {
	var nothing [1]byte
	for {
		if _, err := unix.Read(wire.ControlFD, nothing[:]); err != unix.EINTR {
			return
		}
	}
}

type pages struct{ start, length uintptr }

// mappedProgram returns where the program's own file is mapped for reading alone:
// its code and its constants, which make up most of an idle process.
func mappedProgram() (mapped []pages) {
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		var start, end uintptr
		var rights, offset, device string
		var inode uint64
		n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %d", &start, &end, &rights, &offset, &device, &inode)
		if n == 6 && inode != 0 && rights[0] == 'r' && rights[1] == '-' {
			mapped = append(mapped, pages{start, end - start})
		}
	}
	return mapped
}

func enterPod(setup *wire.Setup) error {
	if err := reapByItself(); err != nil {
		return fmt.Errorf("orphans of the pod: %w", err)
	}
	if err := jail.EnterPod(setup.Spec); err != nil {
		return err
	}
	return filterCalls(setup)
}

// reapByItself has the kernel reap this process's children: with SIGCHLD ignored
// none becomes a zombie (wait(2), NOTES).
func reapByItself() error {
	const ignore = 1 // SIG_IGN
	action := sigaction{handler: ignore}
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD),
		uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
