package escape

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stranger is the id of a process that does not exist: the kernel looks for it
// where it would let the call reach others.
func stranger() uintptr { return uintptr(os.Getpid()) + 1<<20 }

var processes = []Attempt{
	{Name: "execve", Gain: "start any program of the image or of a volume", try: attempt(func() error {
		return began(call(unix.SYS_EXECVE, address("/nowhere"), 0, 0), unix.ENOENT)
	})},
	{Name: "execveat", Gain: "start a program by a descriptor, without a path", try: attempt(func() error {
		return began(call(unix.SYS_EXECVEAT, none, address("nowhere"), 0, 0, 0), unix.EBADF)
	})},
	{Name: "memfd_create", Gain: "have a program in memory alone, to be executed from there", try: attempt(func() error {
		return descriptor(unix.SYS_MEMFD_CREATE, address("escape"), 0)
	})},
	{Name: "fork", Gain: "outlive the guest, or be many", try: attempt(func() error { return fork(0) })},
	{Name: "clone3", Gain: "make processes past filters, which cannot look at its arguments", try: attempt(func() error {
		return began(call(unix.SYS_CLONE3, 0, 0), unix.EINVAL, unix.EFAULT)
	})},
	{Name: "clone with a user namespace", Gain: "every capability, over new namespaces", try: attempt(func() error { return fork(unix.CLONE_NEWUSER) })},
	{Name: "unshare of a user namespace", Gain: "the same", try: attempt(func() error {
		return began(unix.Unshare(unix.CLONE_NEWUSER), unix.EINVAL) // with several threads
	})},
	{Name: "unshare of a mount namespace", Gain: "mount unseen", try: attempt(func() error { return unix.Unshare(unix.CLONE_NEWNS) })},
	{Name: "setns", Gain: "enter the namespaces of the host or of another container", try: attempt(func() error {
		return began(unix.Setns(-1, 0), unix.EBADF)
	})},
	{Name: "ptrace", Gain: "take over another process", try: attempt(func() error {
		return began(call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, stranger()), unix.ESRCH)
	})},
	{Name: "process_vm_readv", Gain: "read another process's memory", try: attempt(func() error {
		return began(call(unix.SYS_PROCESS_VM_READV, stranger(), 0, 0, 0, 0, 0), unix.ESRCH)
	})},
	{Name: "process_vm_writev", Gain: "write it", try: attempt(func() error {
		return began(call(unix.SYS_PROCESS_VM_WRITEV, stranger(), 0, 0, 0, 0, 0), unix.ESRCH)
	})},
	{Name: "process_madvise", Gain: "throw away another process's memory", try: attempt(func() error {
		return began(call(unix.SYS_PROCESS_MADVISE, none, 0, 0, 0, 0), unix.EBADF)
	})},
	{Name: "kcmp", Gain: "learn kernel addresses of other processes", try: attempt(func() error {
		return began(call(unix.SYS_KCMP, stranger(), stranger(), 0, 0, 0), unix.ESRCH)
	})},
	{Name: "pidfd_open", Gain: "hold on to another process", try: attempt(func() error {
		return began(call(unix.SYS_PIDFD_OPEN, stranger(), 0), unix.ESRCH)
	})},
	{Name: "pidfd_getfd", Gain: "take another process's open files", try: attempt(func() error {
		return began(call(unix.SYS_PIDFD_GETFD, none, 0, 0), unix.EBADF)
	})},
	{Name: "pidfd_send_signal", Gain: "end another process", try: attempt(func() error {
		return began(call(unix.SYS_PIDFD_SEND_SIGNAL, none, 0, 0, 0), unix.EBADF)
	})},
	{Name: "kill of all processes", Gain: "end everything within reach", try: attempt(func() error {
		return began(unix.Kill(-1, 0), unix.ESRCH)
	})},
	{Name: "tgkill of another process", Gain: "signal a thread of another process", try: attempt(func() error {
		return began(call(unix.SYS_TGKILL, stranger(), stranger(), 0), unix.ESRCH)
	})},
	{Name: "rt_sigqueueinfo", Gain: "signal with forged details", try: attempt(func() error {
		var info [32]int32
		const siCode, siQueue = 2, -1 // in siginfo_t of include/uapi/asm-generic/siginfo.h
		info[siCode] = siQueue
		return began(call(unix.SYS_RT_SIGQUEUEINFO, stranger(), 1, uintptr(unsafe.Pointer(&info))), unix.ESRCH)
	})},
	{Name: "prlimit of another process", Gain: "change another process's limits", try: attempt(func() error {
		return began(call(unix.SYS_PRLIMIT64, stranger(), unix.RLIMIT_NOFILE, 0, 0), unix.ESRCH)
	})},
	{Name: "prlimit upwards", Gain: "lift one's own limits", Vague: true, try: attempt(func() error {
		limit := unix.Rlimit{Cur: 1 << 40, Max: 1 << 40}
		return call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0)
	})},
	{Name: "sched_setaffinity of another process", Gain: "starve another process", try: attempt(func() error {
		var set unix.CPUSet
		return began(call(unix.SYS_SCHED_SETAFFINITY, stranger(), unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set))), unix.ESRCH)
	})},
	{Name: "setpriority", Gain: "compete with other containers", try: attempt(func() error {
		return unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
	})},
	{Name: "setresuid", Gain: "become another user", try: attempt(func() error {
		return call(unix.SYS_SETRESUID, none, none, none) // changes nothing
	})},
	{Name: "setgroups", Gain: "leave a group whose members are kept from a file", try: attempt(func() error {
		return call(unix.SYS_SETGROUPS, 0, 0)
	})},
	{Name: "capset", Gain: "have CAP_SYS_ADMIN", try: attempt(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		sets[0].Effective, sets[0].Permitted = 1<<unix.CAP_SYS_ADMIN, 1<<unix.CAP_SYS_ADMIN
		return unix.Capset(&header, &sets[0])
	})},
	{Name: "prctl", Gain: "let other processes of the user read its memory", try: attempt(func() error {
		return call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	})},
	{Name: "personality", Gain: "make all memory executable", try: attempt(func() error {
		const readImpliesExec = 0x0400000
		return call(unix.SYS_PERSONALITY, readImpliesExec)
	})},
	{Name: "seccomp", Gain: "answer other processes' system calls; fill the kernel's memory with chosen code", try: attempt(func() error {
		return began(call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0), unix.EFAULT)
	})},
}

// fork makes a process that ends at once.
func fork(flags uintptr) error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

// kept are the strings whose addresses the kernel was given.
var kept []*byte

func address(text string) uintptr {
	p, err := unix.BytePtrFromString(text)
	if err != nil {
		panic(err)
	}
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}
