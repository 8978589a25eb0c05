package seccomp

import "golang.org/x/sys/unix"

// Sandbox returns the filter of every sandbox process: what Go's runtime, wazero
// and WASI's files, clocks and polls need, and nothing else. There is no way in
// it to start a program or a process, to reach another process or a network, to
// mount, to load code into the kernel, or to have memory that is both writable
// and executable. It is for the calling process alone, whose id is part of it.
//
// A call that is missing fails with EPERM; one that newer libraries try before
// they fall back to an older one, with ENOSYS.
func Sandbox() ([]unix.SockFilter, error) {
	var rules []Rule
	for _, numbers := range [][]uint32{goRuntime, files, nativeCalls} {
		for _, number := range numbers {
			rules = append(rules, Rule{Number: number, Action: Allow})
		}
	}
	for _, number := range newer {
		rules = append(rules, Rule{Number: number, Action: Deny(unix.ENOSYS)})
	}
	return Assemble(append(rules, narrowed()...), Deny(unix.EPERM))
}

// goRuntime is what Go's runtime does to run: threads, memory, signals, time and
// the poller.
var goRuntime = []uint32{
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RESTART_SYSCALL,
	unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
	unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MREMAP, unix.SYS_MINCORE,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY,
	unix.SYS_GETRANDOM,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
}

// files is what WASI's file functions become: below directories that are open
// already, by the *at calls. Every one is decided by the container's mounts and
// the user's permissions.
var files = []uint32{
	unix.SYS_OPENAT, unix.SYS_CLOSE, unix.SYS_DUP, unix.SYS_DUP3,
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV,
	unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_LSEEK,
	unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_FSTATFS, unix.SYS_FACCESSAT, unix.SYS_READLINKAT, unix.SYS_GETDENTS64,
	unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FADVISE64, unix.SYS_UTIMENSAT,
	unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_GETCWD,
	unix.SYS_PPOLL, unix.SYS_PSELECT6,
}

// newer are calls that need more than a filter can look at, all of them with
// an older form that is allowed.
var newer = []uint32{unix.SYS_CLONE3, unix.SYS_OPENAT2, unix.SYS_FACCESSAT2, unix.SYS_EPOLL_PWAIT2}

// narrowed are the calls of which a part is allowed.
func narrowed() []Rule {
	const writeAndExecute = unix.PROT_WRITE | unix.PROT_EXEC
	rules := []Rule{
		// New threads of this process, and nothing else that clone(2) can make.
		{Number: unix.SYS_CLONE, Action: Allow, Conditions: []Condition{
			{Index: 0, Operator: MaskedEqual, Mask: threadFlags | namespaceFlags, Value: threadFlags}}},
		// Signals between the threads of this process.
		{Number: unix.SYS_TGKILL, Action: Allow, Conditions: []Condition{
			{Index: 0, Operator: Equal, Value: uint64(unix.Getpid())}}},
		// Further filters, which can only take away.
		{Number: unix.SYS_SECCOMP, Action: Allow, Conditions: []Condition{
			{Index: 0, Operator: Equal, Value: unix.SECCOMP_SET_MODE_FILTER},
			{Index: 1, Operator: MaskedEqual, Mask: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, Value: 0}}},
		// Reading one's own limits.
		{Number: unix.SYS_PRLIMIT64, Action: Allow, Conditions: []Condition{
			{Index: 0, Operator: Equal, Value: 0}, {Index: 2, Operator: Equal, Value: 0}}},
	}
	// Compiled code is written first and executed then, never both.
	for _, number := range []uint32{unix.SYS_MMAP, unix.SYS_MPROTECT} {
		rules = append(rules,
			Rule{Number: number, Action: Deny(unix.EPERM), Conditions: []Condition{
				{Index: 2, Operator: MaskedEqual, Mask: writeAndExecute, Value: writeAndExecute}}},
			Rule{Number: number, Action: Allow})
	}
	for _, command := range []uint64{unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC} {
		rules = append(rules, Rule{Number: unix.SYS_FCNTL, Action: Allow, Conditions: []Condition{
			{Index: 1, Operator: MaskedEqual, Mask: 0xffffffff, Value: command}}})
	}
	// What isatty(3) and reading from a pipe or a terminal ask; nothing that changes either.
	for _, request := range []uint64{unix.TCGETS, unix.TIOCGWINSZ, unix.TIOCINQ} {
		rules = append(rules, Rule{Number: unix.SYS_IOCTL, Action: Allow, Conditions: []Condition{
			{Index: 1, Operator: MaskedEqual, Mask: 0xffffffff, Value: request}}})
	}
	return rules
}

const (
	// threadFlags are those with which Go makes a thread.
	threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	// namespaceFlags must all be absent.
	namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
)
