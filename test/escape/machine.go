package escape

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

var machine = append([]Attempt{
	{Name: "init_module", Gain: "run code in the kernel", Vague: true, try: attempt(func() error {
		return began(call(unix.SYS_INIT_MODULE, 0, 0, 0), unix.EFAULT, unix.EINVAL, unix.ENOEXEC)
	})},
	{Name: "finit_module", Gain: "the same", Vague: true, try: attempt(func() error {
		return began(call(unix.SYS_FINIT_MODULE, none, 0, 0), unix.EBADF, unix.EFAULT)
	})},
	{Name: "delete_module", Gain: "remove a module of the kernel's, say a firewall's", Vague: true, try: attempt(func() error {
		return began(call(unix.SYS_DELETE_MODULE, address("nowhere"), 0), unix.ENOENT)
	})},
	{Name: "kexec_load", Gain: "start another kernel", Vague: true, try: attempt(func() error {
		return began(call(unix.SYS_KEXEC_LOAD, 0, 0, 0, none), unix.EINVAL)
	})},
	{Name: "bpf", Gain: "have the kernel run one's own code at its hooks", Vague: true, try: attempt(func() error {
		return began(call(unix.SYS_BPF, 0, 0, 0), unix.EINVAL, unix.EFAULT)
	})},
	{Name: "perf_event_open", Gain: "watch other processes and the kernel", Vague: true, try: attempt(func() error {
		return began(call(unix.SYS_PERF_EVENT_OPEN, 0, 0, none, none, 0), unix.EFAULT, unix.EINVAL)
	})},
	{Name: "userfaultfd", Gain: "stop the kernel amid a copy, which makes its races easy to win", Vague: true, try: attempt(func() error {
		return descriptor(unix.SYS_USERFAULTFD, 1) // faults of user space alone, which needs no capability
	})},
	{Name: "io_uring_setup", Gain: "make calls past the filter; many flaws", Vague: true, try: attempt(func() error {
		return began(call(unix.SYS_IO_URING_SETUP, 1, 0), unix.EFAULT)
	})},
	{Name: "io_setup and io_submit", Gain: "the older way of the same kind", try: attempt(func() error {
		return began(call(unix.SYS_IO_SETUP, 0, 0), unix.EINVAL, unix.EFAULT)
	})},
	{Name: "add_key", Gain: "fill the kernel's memory; many flaws", try: attempt(func() error {
		return began(call(unix.SYS_ADD_KEY, address("user"), 0, 0, 0, 0), unix.EFAULT, unix.EINVAL)
	})},
	{Name: "keyctl", Gain: "read keys of the host's session", try: attempt(func() error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
		return began(err, unix.ENOKEY)
	})},
	{Name: "msgget", Gain: "shape the kernel's heap with messages", try: attempt(func() error {
		id, err := callFor(unix.SYS_MSGGET, 0, unix.IPC_CREAT|0o600)
		if err == nil {
			err = call(unix.SYS_MSGCTL, id, unix.IPC_RMID, 0)
		}
		return err
	})},
	{Name: "shmget", Gain: "share memory with other processes", try: attempt(func() error {
		id, err := callFor(unix.SYS_SHMGET, 0, 4096, unix.IPC_CREAT|0o600)
		if err == nil {
			err = call(unix.SYS_SHMCTL, id, unix.IPC_RMID, 0)
		}
		return err
	})},
	{Name: "splice", Gain: "the step at which Dirty Pipe wrote to read-only files", try: attempt(func() error {
		return began(call(unix.SYS_SPLICE, none, 0, none, 0, 1, 0), unix.EBADF)
	})},
	{Name: "futexes with priorities", Gain: "the calls of Towelroot and its successors", try: attempt(func() error {
		var word uint32
		const lockPI, unlockPI = 6 | 128, 7 | 128
		err := call(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&word)), lockPI, 0, 0)
		if err == nil {
			err = call(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&word)), unlockPI, 0, 0)
		}
		return err
	})},
	{Name: "syslog", Gain: "read the kernel's log, with its addresses", try: attempt(func() error {
		const sizeOfBuffer = 10
		return call(unix.SYS_SYSLOG, sizeOfBuffer, 0, 0)
	})},
	{Name: "reboot", Gain: "stop the machine", try: attempt(func() error { return began(call(unix.SYS_REBOOT, 0, 0, 0, 0), unix.EINVAL) })},
	{Name: "sethostname", Gain: "rename the machine", try: attempt(func() error {
		return began(call(unix.SYS_SETHOSTNAME, 0, 1<<20), unix.EINVAL)
	})},
	{Name: "settimeofday", Gain: "set the machine's clock", try: attempt(func() error {
		invalid := unix.Timeval{Usec: -1}
		return began(call(unix.SYS_SETTIMEOFDAY, uintptr(unsafe.Pointer(&invalid)), 0), unix.EINVAL)
	})},
	{Name: "clock_settime", Gain: "the same", try: attempt(func() error {
		invalid := unix.Timespec{Nsec: -1}
		return began(call(unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, uintptr(unsafe.Pointer(&invalid))), unix.EINVAL)
	})},
	{Name: "swapon", Gain: "have the machine swap to a file of one's own", try: attempt(func() error {
		return began(call(unix.SYS_SWAPON, address("/nowhere"), 0), unix.ENOENT)
	})},
	{Name: "acct", Gain: "have the kernel write a log to a file of one's choice", try: attempt(func() error {
		return began(call(unix.SYS_ACCT, address("/nowhere")), unix.ENOENT)
	})},
	{Name: "a terminal's input (TIOCSTI)", Gain: "type into the administrator's shell", try: attempt(func() error {
		var key byte
		return began(call(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&key))), unix.ENOTTY, unix.EIO, unix.EINVAL)
	})},
	{Name: "ioctl", Gain: "control devices and file systems", try: attempt(func() error {
		return began(call(unix.SYS_IOCTL, 0, unix.TCGETS, 0), unix.ENOTTY, unix.EFAULT)
	})},
}, ofArchitecture...)
