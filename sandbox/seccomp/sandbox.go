package seccomp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Sandbox returns the filter of every sandbox process: what Go's runtime, wazero
// and WASI's files, clocks and polls need, and nothing else. There is no way in
// it to start a program or a process, to reach another process or a network, to
// mount, to control a device, to load code into the kernel, to install another
// filter, or to have memory that is both writable and executable. It is for the
// calling process alone, whose id is part of it.
//
// A call that is missing fails with EPERM. What the sandbox allows goes on to
// the further filter, where there is one: the spec's, which can only take away.
// The two are one program, so that the process need not be allowed seccomp(2).
//
// One that listens may also accept connections and use them. It cannot make a socket.
func Sandbox(further []unix.SockFilter, listens bool) ([]unix.SockFilter, error) {
	lists := [][]uint32{descriptors, files, paths}
	if listens {
		lists = append(lists, connections)
	}
	own, err := filter(waiting, lists...)
	if err != nil || len(further) == 0 {
		return own, err
	}
	return chain(own, further)
}

// Compiler returns the filter of a process that compiles modules and runs no
// guest: it works on descriptors that are open already, and has no call that
// takes a path.
func Compiler() ([]unix.SockFilter, error) { return filter(nil, descriptors) }

// filter allows what Go's runtime needs, the lists and further calls of which a
// part is allowed. The kernel remembers which calls are allowed whatever their
// arguments, and runs the filter for the rest, which therefore come first.
func filter(parts []Rule, lists ...[]uint32) ([]unix.SockFilter, error) {
	rules := append(narrowed(), parts...)
	for _, list := range append(lists, goRuntime) {
		for _, number := range list {
			rules = append(rules, Rule{Number: number, Action: Allow})
		}
	}
	return Assemble(rules, Deny(unix.EPERM))
}

// goRuntime is what Go's runtime does to run: threads, memory, signals, time and
// the poller, and what it says when it crashes.
var goRuntime = []uint32{
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_RESTART_SYSCALL, // the kernel's, after a stop or a freeze
	unix.SYS_SCHED_YIELD, unix.SYS_NANOSLEEP,
	unix.SYS_MUNMAP,
	unix.SYS_GETPID, unix.SYS_GETTID,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_CLOCK_GETTIME, unix.SYS_GETRANDOM, // where the vDSO does not have them
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
}

// descriptors is what is done to open files and streams.
var descriptors = []uint32{
	unix.SYS_CLOSE, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_LSEEK,
	unix.SYS_FSTAT, unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_PPOLL,
}

// files is what WASI's functions on open files become beside that: buffers that
// are the guest's memory, room on a disk and advice about reading.
var files = []uint32{
	unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_FALLOCATE, unix.SYS_FADVISE64,
}

// paths is what WASI's functions on paths become. Every one is decided by the
// container's mounts and the user's permissions. Files are opened by openat2 alone,
// which keeps the kernel below a guest's directory.
var paths = []uint32{
	unix.SYS_OPENAT2, unix.SYS_READLINKAT, unix.SYS_GETDENTS64,
	unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_UTIMENSAT,
}

// connections is what WASI's functions on sockets become, beside reading and writing.
// recvmsg is none of them: it would also receive descriptors.
var connections = []uint32{unix.SYS_ACCEPT4, unix.SYS_RECVFROM, unix.SYS_SHUTDOWN}

// waiting is how much there is to read (FIONREAD), which poll_oneoff tells. No other
// request of ioctl(2) is allowed.
var waiting = []Rule{{Number: unix.SYS_IOCTL, Action: Allow, Conditions: []Condition{int32Equals(1, unix.TIOCINQ)}}}

// narrowed are the calls of which a part is allowed.
func narrowed() (rules []Rule) {
	allow := func(number uint32, conditions ...Condition) {
		rules = append(rules, Rule{Number: number, Action: Allow, Conditions: conditions})
	}
	// Sleeping and waking, within this process.
	for _, operation := range []uint64{futexWaitPrivate, futexWakePrivate} {
		allow(unix.SYS_FUTEX, int32Equals(1, operation))
	}
	// New threads of this process as Go makes them, and nothing else that clone(2)
	// can make.
	allow(unix.SYS_CLONE, Condition{Index: 0, Operator: MaskedEqual, Mask: ^uint64(unix.CLONE_SETTLS), Value: threadFlags})
	// Signals between the threads of this process.
	allow(unix.SYS_TGKILL, equals(0, uint64(unix.Getpid())))
	for _, advice := range []uint64{unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_COLLAPSE} {
		allow(unix.SYS_MADVISE, int32Equals(2, advice))
	}
	// Compiled code is mapped to be written, and can then be made executable
	// instead, never both; or it is in a file, of which the container has none on
	// a mount that lets it be executed. Nobody else can write to what is mapped.
	// Droppable memory is getrandom's in the vDSO.
	for _, kind := range []uint64{unix.MAP_PRIVATE, unix.MAP_DROPPABLE} {
		allow(unix.SYS_MMAP,
			Condition{Index: 2, Operator: MaskedEqual, Mask: unix.PROT_EXEC, Value: 0},
			Condition{Index: 3, Operator: MaskedEqual, Mask: unix.MAP_TYPE, Value: kind})
	}
	allow(unix.SYS_MMAP, equals(2, readAndExecute),
		Condition{Index: 3, Operator: MaskedEqual, Mask: unix.MAP_TYPE | unix.MAP_ANONYMOUS, Value: unix.MAP_PRIVATE})
	allow(unix.SYS_MPROTECT, Condition{Index: 2, Operator: MaskedEqual, Mask: unix.PROT_EXEC, Value: 0})
	allow(unix.SYS_MPROTECT, equals(2, readAndExecute))
	// Blocking or not: WASI's only flag that Linux has for an open file.
	for _, command := range []uint64{unix.F_GETFL, unix.F_SETFL} {
		allow(unix.SYS_FCNTL, int32Equals(1, command))
	}
	return rules
}

const readAndExecute = unix.PROT_READ | unix.PROT_EXEC

func equals(index uint, value uint64) Condition {
	return Condition{Index: index, Operator: Equal, Value: value}
}

// int32Equals compares what the kernel compares where it takes an int: of the
// register's 64 bits the lower half.
func int32Equals(index uint, value uint64) Condition {
	return Condition{Index: index, Operator: MaskedEqual, Mask: 0xffffffff, Value: value}
}

// Operations of include/uapi/linux/futex.h.
const (
	futexWaitPrivate = 0 | 128
	futexWakePrivate = 1 | 128
)

// threadFlags are those with which Go makes a thread, less CLONE_SETTLS, which
// amd64 has and arm64 has not: newosproc and clone of package runtime.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// chain lets what one filter allows be decided by the next.
func chain(first program, next []unix.SockFilter) ([]unix.SockFilter, error) {
	if n := len(first) + len(next); n > maxInstructions {
		return nil, fmt.Errorf("together with the sandbox's own, the filter has %d instructions, more than the %d that the kernel takes: use fewer rules", n, maxInstructions)
	}
	joined := append(program{}, first...)
	for i, instruction := range joined {
		if instruction == ret(Allow) {
			joined[i] = skip(len(joined) - i - 1)
		}
	}
	return append(joined, next...), nil
}
