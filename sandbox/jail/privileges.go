package jail

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// securebits, capabilities(7): being user 0, changing the user and raising
// ambient capabilities have no effect on capabilities, and none of the eight
// bits can be changed again.
const securebits = 1<<0 | 1<<1 | // SECBIT_NOROOT, locked
	1<<2 | 1<<3 | // SECBIT_NO_SETUID_FIXUP, locked
	1<<5 | // SECBIT_KEEP_CAPS unset, locked
	1<<6 | 1<<7 // SECBIT_NO_CAP_AMBIENT_RAISE, locked

// DropPrivileges gives up everything that the guest shall not have, on every
// thread of the process: after it the process has the spec's user, groups,
// umask, rlimits and working directory, a session of its own, no capability in
// any set, and no way to new privileges; it is not dumpable, dies with its
// parent, and reaches no file outside of the root directory, see confine. It is
// called after EnterRootfs, inside the root file system.
//
// RLIMIT_NPROC and RLIMIT_AS count the runtime's own threads and memory too.
//
// After an error the process may have any part of its privileges and must exit.
func DropPrivileges(spec *specs.Spec) error {
	p := spec.Process
	// A session cannot be left for another by a process that leads one already.
	if _, err := unix.Setsid(); err != nil && err != unix.EPERM {
		return fmt.Errorf("making a session: %w", err)
	}
	if err := setRlimits(p.Rlimits); err != nil {
		return err
	}
	umask := 0o022
	if p.User.Umask != nil {
		umask = int(*p.User.Umask)
	}
	unix.Umask(umask)

	// A directory may be open to user 0 only, or, on a network file system, to
	// the user only: it is enough that one of them may enter.
	entered := unix.Chdir(p.Cwd)
	if err := limitCapabilities(); err != nil {
		return err
	}
	if err := becomeUser(p.User); err != nil {
		return err
	}
	if entered != nil {
		entered = unix.Chdir(p.Cwd)
	}
	if entered != nil {
		return fmt.Errorf("process.cwd: %s: %w", p.Cwd, entered)
	}
	// Getwd says so where the directory is not below the root directory.
	if _, err := unix.Getwd(); err != nil {
		return fmt.Errorf("process.cwd: %s is not inside the container: %w", p.Cwd, err)
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	return confine()
}

// LimitThread prepares the calling thread for starting the processes of
// containers: what it starts has all of its capabilities, and none in the
// bounding set, and does not see the keys of the caller's session. The first
// spares DropPrivileges the work of emptying that set on every thread of the new
// process, number by number; a new user namespace fills it again. The second is
// done nowhere else. The caller has locked the thread and uses it for nothing
// else; it cannot be undone.
func LimitThread() error {
	// Kernels can be built without keys, and filters of an outer container
	// forbid them: then there is nothing to see.
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err != nil && err != unix.ENOSYS && err != unix.EPERM {
		return fmt.Errorf("making a session keyring: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("reading the capabilities: %w", err)
	}
	// At execve(2) a process of user 0 gets the inheritable and the bounding
	// set: capabilities(7), "Capabilities and execution of programs by root".
	for i := range sets {
		sets[i].Inheritable = sets[i].Permitted
	}
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("making the capabilities inheritable: %w", err)
	}
	return emptyBoundingSet(func(capability uintptr) error {
		return unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
	})
}

// limitCapabilities takes away what could bring capabilities back; that itself
// needs CAP_SETPCAP, so it comes first.
func limitCapabilities() error {
	if err := prctlAll(unix.PR_SET_SECUREBITS, securebits); err != nil {
		return fmt.Errorf("locking the secure bits: %w", err)
	}
	return emptyBoundingSet(func(capability uintptr) error { return prctlAll(unix.PR_CAPBSET_DROP, capability) })
}

func emptyBoundingSet(drop func(capability uintptr) error) error {
	for capability := uintptr(0); ; capability++ {
		set, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0)
		if err == unix.EINVAL {
			return nil // the first number that this kernel does not know
		}
		if err == nil && set == 1 {
			err = drop(capability)
		}
		if err != nil {
			return fmt.Errorf("dropping capability %d from the bounding set: %w", capability, err)
		}
	}
}

// becomeUser uses the functions of package syscall, which reach all threads, and
// only where something changes: stopping every thread takes time.
func becomeUser(u specs.User) error {
	groups := make([]int, 0, len(u.AdditionalGids))
	for _, g := range u.AdditionalGids {
		groups = append(groups, int(g))
	}
	current, err := syscall.Getgroups()
	if err != nil {
		return fmt.Errorf("process.user.additionalGids: %w", err)
	}
	if !slices.Equal(current, groups) {
		if err := syscall.Setgroups(groups); err != nil {
			if deny, _ := os.ReadFile("/proc/self/setgroups"); strings.HasPrefix(string(deny), "deny") {
				return fmt.Errorf("process.user.additionalGids: the process has groups %v, and its user namespace forbids it others (/proc/self/setgroups): map a range of groups, as newgidmap(1) does", current)
			}
			return fmt.Errorf("process.user.additionalGids: %w", err)
		}
	}
	uid, gid := int(u.UID), int(u.GID)
	if r, e, s := unix.Getresgid(); r != gid || e != gid || s != gid {
		if err := syscall.Setresgid(gid, gid, gid); err != nil {
			return fmt.Errorf("process.user.gid: %d: %w", gid, err)
		}
	}
	if r, e, s := unix.Getresuid(); r != uid || e != uid || s != uid {
		if err := syscall.Setresuid(uid, uid, uid); err != nil {
			return fmt.Errorf("process.user.uid: %d: %w", uid, err)
		}
	}
	return nil
}

func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := callAll(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0); err != nil {
		return fmt.Errorf("dropping all capabilities: %w", err)
	}
	if err := prctlAll(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("setting no_new_privs: %w", err)
	}
	// The changes of credentials have cleared this one. Any thread whose
	// parent dies takes the process with it.
	if err := prctlAll(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL)); err != nil {
		return fmt.Errorf("setting the parent-death signal: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process not dumpable: %w", err)
	}
	return nil
}

func prctlAll(option int, argument uintptr) error {
	return callAll(unix.SYS_PRCTL, uintptr(option), argument, 0)
}

// callAll makes a system call on every thread of the process; the result must
// be the same for all.
//
//go:uintptrescapes
func callAll(number, a1, a2, a3 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(number, a1, a2, a3, 0, 0, 0)
	switch errno {
	case 0:
		return nil
	case syscall.ENOTSUP:
		return errors.New("the program was built with cgo, and Go cannot make a system call on all threads of such a program; build it with CGO_ENABLED=0")
	}
	return errno
}
