package jail

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Join is a namespace that the container shares with others.
type Join struct {
	Type specs.LinuxNamespaceType
	// Path is the namespace's file.
	Path string
	// Flag is the second argument of setns(2).
	Flag int
}

// namespaceFlags has the kernel's flag of each namespace, in an order in which
// setns works: a user namespace first, because it gives the rights over those
// it owns, and the pid namespace, which only counts for the next child, last.
var namespaceFlags = []struct {
	kind specs.LinuxNamespaceType
	flag int
}{
	{specs.UserNamespace, unix.CLONE_NEWUSER},
	{specs.NetworkNamespace, unix.CLONE_NEWNET},
	{specs.IPCNamespace, unix.CLONE_NEWIPC},
	{specs.UTSNamespace, unix.CLONE_NEWUTS},
	{specs.CgroupNamespace, unix.CLONE_NEWCGROUP},
	{specs.MountNamespace, unix.CLONE_NEWNS},
	{specs.PIDNamespace, unix.CLONE_NEWPID},
}

// Namespaces says how the container's process is to be started: with these
// clone(2) flags, by a thread that has joined these namespaces, in this order.
//
// A new cgroup namespace is not among the flags. Its root would be the cgroup
// of the parent; EnterRootfs makes it once the process is in its own cgroup.
//
// Where the flags have CLONE_NEWUSER, the parent writes linux.uidMappings and
// linux.gidMappings, leaves setgroups(2) allowed, and starts the process as
// user and group 0 of the namespace: with any other it loses its capabilities
// at execve(2).
func Namespaces(spec *specs.Spec) (cloneFlags uintptr, joins []Join, err error) {
	var listed []specs.LinuxNamespace
	if spec.Linux != nil {
		listed = spec.Linux.Namespaces
	}
	if err := checkNamespaces(listed); err != nil {
		return 0, nil, err
	}
	for _, n := range namespaceFlags {
		i := slices.IndexFunc(listed, func(l specs.LinuxNamespace) bool { return l.Type == n.kind })
		switch {
		case i < 0:
		case listed[i].Path != "":
			joins = append(joins, Join{Type: n.kind, Path: listed[i].Path, Flag: n.flag})
		case n.kind != specs.CgroupNamespace:
			cloneFlags |= uintptr(n.flag)
		}
	}
	return cloneFlags, joins, nil
}

func checkNamespaces(listed []specs.LinuxNamespace) error {
	seen := map[specs.LinuxNamespaceType]bool{}
	for _, n := range listed {
		field := fmt.Sprintf("linux.namespaces[%s]", n.Type)
		known := n.Type == specs.TimeNamespace
		for _, f := range namespaceFlags {
			known = known || f.kind == n.Type
		}
		switch {
		case !known:
			return fmt.Errorf("linux.namespaces[]: %q is no type of namespace", n.Type)
		case seen[n.Type]:
			return fmt.Errorf("%s: listed twice", field)
		case n.Path != "" && !filepath.IsAbs(n.Path):
			return fmt.Errorf("%s: the path %q is not absolute", field, n.Path)
		case n.Type == specs.TimeNamespace && n.Path != "":
			return fmt.Errorf("%s: joining time namespaces is not supported; list it without a path, and the container has the host's clocks", field)
		case n.Type == specs.MountNamespace && n.Path != "":
			return fmt.Errorf("%s: a mount namespace cannot be given by path, because the container's mounts would appear in it and its root would move; list it without a path", field)
		}
		seen[n.Type] = true
	}
	if !seen[specs.MountNamespace] {
		return fmt.Errorf("linux.namespaces[mount]: missing; the container's root file system needs a mount namespace of its own")
	}
	return nil
}

// namespace says whether the container has a namespace of that type that is not
// its parent's, and whether it is a new one.
func namespace(spec *specs.Spec, kind specs.LinuxNamespaceType) (listed, created bool) {
	for _, n := range spec.Linux.Namespaces {
		if n.Type == kind {
			return true, n.Path == ""
		}
	}
	return false, false
}

// unshareCgroup makes the current cgroup the root of the process's view.
// unshare(2) moves one thread, so the others follow it by setns(2).
func unshareCgroup() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("linux.namespaces[cgroup]: %w", err)
	}
	fd, err := unix.Open("/proc/thread-self/ns/cgroup", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("linux.namespaces[cgroup]: %w", err)
	}
	defer unix.Close(fd)
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_SETNS, uintptr(fd), unix.CLONE_NEWCGROUP, 0); errno != 0 {
		return fmt.Errorf("linux.namespaces[cgroup]: %w", errno)
	}
	return nil
}
