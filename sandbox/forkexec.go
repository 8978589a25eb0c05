package sandbox

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The Go runtime's own hooks around a fork, which package syscall uses too:
// between them no signal handler runs and the child may only make system calls.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// inside says which process joinExec starts and what it joins on the way.
// syscall.ForkExec can do neither of the two joins: a user namespace only lets
// a process of one thread in, and a Go program never is one; and once in a
// container's mount namespace, the program's path would be the container's.
type inside struct {
	program  *os.File // executed through its descriptor, whatever the path would lead to by then
	argv     []string
	env      []string
	files    []uintptr // become descriptors 0, 1, 2 …
	terminal bool      // descriptor 0 becomes the session's controlling terminal
	user     int       // the user namespace to join, or -1
	mount    int       // the mount namespace to join, or -1
	unshare  uintptr   // namespaces that are made after joining the user namespace, and so belong to it
	newPID   bool      // a new pid namespace likewise, which takes a second fork
	cgroup   int       // the cgroup v2 directory to be born in, or -1
}

// joinExec forks, joins, unshares and executes, and returns the child's pid
// and pidfd. It must run on the fork thread.
func joinExec(in inside) (pid, pidfd int, err error) {
	argv, err := syscall.SlicePtrFromStrings(in.argv)
	if err != nil {
		return 0, -1, err
	}
	env, err := syscall.SlicePtrFromStrings(in.env)
	if err != nil {
		return 0, -1, err
	}
	// The child says through this pipe which errno stopped it; a program that
	// was executed closes it.
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, -1, err
	}
	// The child moves descriptors to 0, 1, 2 …: those that it still needs must
	// lie above, so that none is overwritten.
	child := childArgs{
		argv: &argv[0], env: &env[0], empty: new(byte),
		unshare: in.unshare, newPID: in.newPID, terminal: in.terminal,
		files: make([]int, len(in.files)),
	}
	var moved []int
	above := func(fd int) int {
		if err != nil || fd < 0 {
			return fd
		}
		var high int
		if high, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, len(in.files)); err == nil {
			moved = append(moved, high)
		}
		return high
	}
	for i, fd := range in.files {
		child.files[i] = above(int(fd))
	}
	child.program, child.pipe = above(int(in.program.Fd())), above(pipe[1])
	child.user, child.mount = above(in.user), above(in.mount)
	unix.Close(pipe[1])
	closeMoved := func() {
		for _, fd := range moved {
			unix.Close(fd)
		}
	}
	if err != nil {
		closeMoved()
		unix.Close(pipe[0])
		return 0, -1, err
	}

	fd := int32(-1)
	clone := cloneArgs{
		flags:      unix.CLONE_PIDFD,
		pidfd:      uint64(uintptr(unsafe.Pointer(&fd))),
		exitSignal: uint64(unix.SIGCHLD),
	}
	if in.cgroup >= 0 {
		clone.flags |= unix.CLONE_INTO_CGROUP
		clone.cgroup = uint64(in.cgroup)
	}
	syscall.ForkLock.Lock()
	pid, errno := forkChild(&clone, &child)
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(&child)
	closeMoved()
	if errno != 0 {
		unix.Close(pipe[0])
		return 0, -1, errno
	}
	// A child that failed exits by itself, and the caller's reaper takes it.
	second, err := childReports(pipe[0])
	unix.Close(pipe[0])
	if err != nil || second != 0 {
		unix.Close(int(fd))
	}
	if err != nil {
		return 0, -1, err
	}
	if second == 0 {
		return pid, int(fd), nil
	}
	if pidfd, err = unix.PidfdOpen(second, 0); err != nil {
		pidfd = -1
	}
	return second, pidfd, nil
}

// childReports reads what the child says until its program runs: the pid of
// the second process, where it forked once more, and which step failed and how.
func childReports(pipe int) (second int, err error) {
	var report [2]int32
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&report)), unsafe.Sizeof(report))
	for {
		n, errno := unix.Read(pipe, raw)
		switch {
		case errno == unix.EINTR:
		case errno != nil:
			return second, errno
		case n != len(raw):
			return second, err
		case report[0] == stepForked:
			second = int(report[1])
		default:
			err = os.NewSyscallError(joinSteps[report[0]], syscall.Errno(report[1]))
		}
	}
}

const (
	stepJoinUser = iota
	stepJoinMount
	stepUnshare
	stepRoot
	stepFork
	stepForked // not a failure: the second process's pid
	stepSession
	stepFiles
	stepTerminal
	stepExecute
)

// joinSteps are the names of the steps in errors.
var joinSteps = [...]string{
	"join user namespace", "join mount namespace", "make namespaces", "become root of the user namespace",
	"fork into a new pid namespace", "", "new session", "pass descriptors", "set the controlling terminal", "execute the sandbox program",
}

// cloneArgs is the kernel's struct clone_args (include/uapi/linux/sched.h).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

type childArgs struct {
	program, pipe, user, mount int
	unshare                    uintptr
	newPID, terminal           bool
	files                      []int
	argv, env                  **byte
	empty                      *byte
	report                     [2]int32
}

// forkChild returns in the parent only. In the child, a copy of this process
// with one thread, it allocates nothing, grows no stack and takes no lock.
//
//go:noinline
//go:norace
func forkChild(clone *cloneArgs, c *childArgs) (int, syscall.Errno) {
	var (
		step  int32
		errno syscall.Errno
	)
	beforeFork()
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(clone)), unsafe.Sizeof(*clone), 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return int(pid), errno
	}
	afterForkInChild()

	if c.user >= 0 {
		step = stepJoinUser
		if _, _, errno = syscall.RawSyscall(unix.SYS_SETNS, uintptr(c.user), unix.CLONE_NEWUSER, 0); errno != 0 {
			goto failed
		}
	}
	if c.unshare != 0 {
		step = stepUnshare
		if _, _, errno = syscall.RawSyscall(unix.SYS_UNSHARE, c.unshare, 0, 0); errno != 0 {
			goto failed
		}
	}
	if c.mount >= 0 {
		step = stepJoinMount
		if _, _, errno = syscall.RawSyscall(unix.SYS_SETNS, uintptr(c.mount), unix.CLONE_NEWNS, 0); errno != 0 {
			goto failed
		}
	}
	if c.user >= 0 {
		step = stepRoot
		if _, _, errno = syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0); errno != 0 {
			goto failed
		}
		if _, _, errno = syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); errno != 0 {
			goto failed
		}
	}
	if c.newPID {
		step = stepFork
		// The second process is this one's sibling: the parent reaps it, and its
		// parent-death signal is the parent's death.
		if pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|unix.CLONE_NEWPID|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0); errno != 0 {
			goto failed
		}
		if pid != 0 {
			c.report[0], c.report[1] = stepForked, int32(pid)
			syscall.RawSyscall(unix.SYS_WRITE, uintptr(c.pipe), uintptr(unsafe.Pointer(&c.report)), unsafe.Sizeof(c.report))
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	step = stepSession
	if _, _, errno = syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0); errno != 0 {
		goto failed
	}
	step = stepFiles
	for i := 0; i < len(c.files); i++ {
		if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(c.files[i]), uintptr(i), 0); errno != 0 {
			goto failed
		}
	}
	if c.terminal {
		step = stepTerminal
		if _, _, errno = syscall.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0); errno != 0 {
			goto failed
		}
	}
	step = stepExecute
	_, _, errno = syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(c.program), uintptr(unsafe.Pointer(c.empty)),
		uintptr(unsafe.Pointer(c.argv)), uintptr(unsafe.Pointer(c.env)), unix.AT_EMPTY_PATH, 0)
failed:
	c.report[0], c.report[1] = step, int32(errno)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(c.pipe), uintptr(unsafe.Pointer(&c.report)), unsafe.Sizeof(c.report))
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
	}
}
