package jail

import (
	"fmt"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// EnterPod sets up the namespaces of a pod, in which the process is, by the host
// name and the sysctls of spec, and leaves the process as EnterNothing does.
func EnterPod(spec *specs.Spec) error {
	if err := configureKernel(spec); err != nil {
		return err
	}
	return EnterNothing()
}

// ValidatePod says what of a pod's spec EnterPod cannot do, and names the field.
func ValidatePod(spec *specs.Spec) error {
	if err := checkNamespaces(spec.Linux.Namespaces); err != nil {
		return err
	}
	return checkSysctls(spec)
}

// EnterNothing leaves the process, which has a mount namespace of its own, in a
// root file system without a file, with its user's identity and nothing else of
// what DropPrivileges takes away. The descriptors stay open.
func EnterNothing() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cutting its mounts off from the host's: %w", err)
	}
	root, err := newMount("tmpfs", "tmpfs", []string{"mode=555", "nr_blocks=1", "nr_inodes=2"},
		unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return fmt.Errorf("an empty file system: %w", err)
	}
	defer unix.Close(root)
	host, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(host)
	if err := attach(root, host); err != nil {
		return fmt.Errorf("an empty file system: %w", err)
	}
	if err := pivot(root); err != nil {
		return err
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return err
	}
	user := specs.User{UID: uint32(unix.Getuid()), GID: uint32(unix.Getgid())}
	for _, g := range groups {
		user.AdditionalGids = append(user.AdditionalGids, uint32(g))
	}
	return DropPrivileges(&specs.Spec{Process: &specs.Process{User: user, Cwd: "/"}})
}
