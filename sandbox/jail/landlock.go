package jail

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// usedByGuests is what WASI's functions do to files, and with it what a
	// guest may do beneath the root directory.
	usedByGuests = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
		unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER
	// usedByNone is what they never do, to whatever file.
	usedByNone = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV | unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK
)

// laterRights are the rights that came after the second ABI of Landlock, and
// with which one: landlock(7), VERSIONS.
var laterRights = []struct {
	abi             int
	fs, net, scoped uint64
}{
	{abi: 3, fs: unix.LANDLOCK_ACCESS_FS_TRUNCATE},
	{abi: 4, net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP},
	{abi: 5, fs: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
	{abi: 6, scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL},
	{abi: 9, fs: unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},
	{abi: 10, net: unix.LANDLOCK_ACCESS_NET_BIND_UDP | unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP},
}

// abiOfTSYNC is the first ABI that restricts all threads by one call.
const abiOfTSYNC = 8

// confine restricts all threads by Landlock, as far as the kernel has it: beneath
// the root directory to what a WASI guest does to files, anywhere else to
// nothing. So what a descriptor or a link of procfs stands for outside of the
// container cannot be opened again; only the standard streams can, in the
// direction in which they are open. The process can also use no port, and reach
// no abstract socket and no process outside, whatever else would let it.
//
// The kernel adds this to mounts and permissions, which stay as they are. The
// first ABI is passed over: it forbids moving a file to another directory.
func confine() error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi < 2 {
		return nil // not built, switched off, or forbidden by an outer container
	}
	handled := rightsOf(int(abi))
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&handled)), unsafe.Sizeof(handled), 0)
	if errno != 0 {
		return fmt.Errorf("making a Landlock rule set: %w", errno)
	}
	defer unix.Close(int(ruleset))
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the root directory: %w", err)
	}
	defer unix.Close(root)
	if err := allowBeneath(int(ruleset), root, usedByGuests&handled.Handled_access_fs); err != nil {
		return fmt.Errorf("Landlock's rule for the root directory: %w", err)
	}
	for stream := range 3 {
		if err := allowStream(int(ruleset), stream, handled.Handled_access_fs); err != nil {
			return fmt.Errorf("Landlock's rule for descriptor %d: %w", stream, err)
		}
	}
	if abi >= abiOfTSYNC {
		if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, unix.LANDLOCK_RESTRICT_SELF_TSYNC, 0); errno != 0 {
			return fmt.Errorf("restricting the process by Landlock: %w", errno)
		}
		return nil
	}
	if err := callAll(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); err != nil {
		return fmt.Errorf("restricting the process by Landlock: %w", err)
	}
	return nil
}

// rightsOf returns all rights that an ABI of Landlock knows: what has no rule is
// denied.
func rightsOf(abi int) unix.LandlockRulesetAttr {
	handled := unix.LandlockRulesetAttr{Handled_access_fs: usedByGuests | usedByNone}
	for _, later := range laterRights {
		if abi < later.abi {
			handled.Handled_access_fs &^= later.fs
			continue
		}
		handled.Handled_access_net |= later.net
		handled.Scoped |= later.scoped
	}
	return handled
}

// allowStream lets a standard stream be opened again as it is open: a FIFO, a
// file or a terminal outside of the root directory, to which /dev/stdout leads.
func allowStream(ruleset, fd int, handled uint64) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == unix.EBADF {
		return nil
	}
	if err != nil {
		return err
	}
	var rights uint64
	if mode := flags & unix.O_ACCMODE; mode == unix.O_RDONLY || mode == unix.O_RDWR {
		rights |= unix.LANDLOCK_ACCESS_FS_READ_FILE
	}
	if mode := flags & unix.O_ACCMODE; mode == unix.O_WRONLY || mode == unix.O_RDWR {
		rights |= unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	err = allowBeneath(ruleset, fd, rights&handled)
	if err == unix.EBADFD {
		return nil // a pipe or a socket, which has no path
	}
	return err
}

func allowBeneath(ruleset, fd int, rights uint64) error {
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
