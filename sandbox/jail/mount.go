package jail

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func describe(m specs.Mount) string {
	if o, _ := parseOptions(m); o.bind {
		return fmt.Sprintf("bind %s on %s", m.Source, m.Destination)
	}
	return fmt.Sprintf("%s on %s", m.Type, m.Destination)
}

// mountsOn says whether the spec mounts something there.
func (c *container) mountsOn(destination string) bool {
	return slices.ContainsFunc(c.spec.Mounts, func(m specs.Mount) bool { return path.Clean(m.Destination) == destination })
}

// hasDevices says whether device nodes below a mount work: below /dev, where the
// spec's devices are, and where the spec says dev. Elsewhere they would be those
// of an image or a volume.
func (o options) hasDevices(destination string) bool {
	destination = path.Clean(destination)
	return destination == "/dev" || strings.HasPrefix(destination, "/dev/") ||
		(o.top.mask&^o.top.set|o.tree.mask&^o.tree.set)&unix.MOUNT_ATTR_NODEV != 0
}

// mountSpec makes mounts[i] of the spec.
func (c *container) mountSpec(i int) error {
	m := c.spec.Mounts[i]
	if !IsGiven(c.spec, m) {
		return c.mount(m)
	}
	o, err := parseOptions(m)
	if err != nil {
		return err
	}
	return c.bindGiven(i, m, o)
}

// mount makes one mount, as the spec has them.
func (c *container) mount(m specs.Mount) error {
	o, err := parseOptions(m)
	if err != nil {
		return err
	}
	switch {
	case o.bind:
		return c.bind(m.Source, m.Destination, o)
	case m.Type == "cgroup":
		return c.mountCgroups(m.Destination, o)
	}
	target, created, err := mountpoint(c.root, m.Destination, true)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if err := c.checkTarget(target, m); err != nil {
		return err
	}
	var old unix.Stat_t
	if err := unix.Fstat(target, &old); err != nil {
		return err
	}
	if m.Type == "tmpfs" && !created && !slices.ContainsFunc(o.data, func(s string) bool { return strings.HasPrefix(s, "mode=") }) {
		// A tmpfs over the image's /tmp is as open as that was.
		o.data = append(o.data, fmt.Sprintf("mode=%o", old.Mode&0o7777))
	}
	if !o.hasDevices(m.Destination) {
		o.tree.add(mountFlags["nodev"])
	}
	mnt, err := newMount(m.Type, m.Source, o.data, o.top.set|o.tree.set)
	if err == unix.EPERM && m.Type == "sysfs" && c.userNS {
		// A new sysfs needs rights over the network namespace, which is not
		// the container's where it shares one: show the host's, read-only.
		o.recursive = true
		o.tree.add(mountFlags["ro"])
		return c.bind("/sys", m.Destination, o)
	}
	if err != nil {
		return c.explainNew(err, o.data)
	}
	defer unix.Close(mnt)
	if o.copyUp {
		if err := copyUp(target, mnt, old); err != nil {
			return fmt.Errorf("tmpcopyup: %w", err)
		}
	}
	if err := place(mnt, target, o); err != nil {
		return err
	}
	if m.Type == "proc" {
		return c.hideSelf(mnt)
	}
	return nil
}

// explainNew says why a new mount may not be made in a user namespace.
func (c *container) explainNew(err error, parameters []string) error {
	ids := slices.DeleteFunc(slices.Clone(parameters), func(p string) bool {
		return !strings.HasPrefix(p, "uid=") && !strings.HasPrefix(p, "gid=")
	})
	switch {
	case !c.userNS:
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; in a user namespace this takes namespaces that belong to it, and of procfs one that is visible in full: leave the mount out, or bind the host's", err)
	case errors.Is(err, unix.EINVAL) && len(ids) > 0:
		return fmt.Errorf("%w; the user namespace has to have the id of %s: give its user a range in /etc/subuid and /etc/subgid", err, strings.Join(ids, " and "))
	}
	return err
}

// place sets the propagation of a detached mount and attaches it.
func place(mnt, target int, o options) error {
	for _, p := range o.propagation {
		if err := setPropagation(mnt, p); err != nil {
			return fmt.Errorf("setting the propagation: %w", err)
		}
	}
	return attach(mnt, target)
}

// bind mounts source, a path of the host, on destination, a path of the
// container: a directory on a directory, anything else on a file.
func (c *container) bind(source, destination string, o options) error {
	src, err := unix.Open(source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	mnt, err := cloneMount(src, o.recursive)
	if err != nil {
		return explainClone(err, o, c.userNS)
	}
	defer unix.Close(mnt)
	return c.bindMount(mnt, destination, o)
}

// explainClone says why a mount may not be copied in a user namespace.
func explainClone(err error, o options, userNS bool) error {
	if err == unix.EINVAL && userNS && !o.recursive {
		return fmt.Errorf("the source has mounts below it that a user namespace must not uncover; use the option rbind")
	}
	return err
}

// bindMount is bind with a detached mount of the source, which stays the caller's.
func (c *container) bindMount(mnt int, destination string, o options) error {
	var st unix.Stat_t
	if err := unix.Fstat(mnt, &st); err != nil {
		return err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	// A device that is the source itself is the spec's.
	if isDir && !o.hasDevices(destination) {
		o.tree.add(mountFlags["nodev"])
	}
	if err := setAttributes(mnt, o.tree, true); err != nil {
		return fmt.Errorf("setting the recursive options: %w", err)
	}
	// rw, suid, dev and exec are what a mount has anyway. Here they undo an
	// earlier option of the same list, and never what the host forbids on the source.
	top := o.top
	top.mask &= top.set | unix.MOUNT_ATTR__ATIME
	if err := setAttributes(mnt, top, false); err != nil {
		return fmt.Errorf("setting the options: %w", err)
	}
	target, _, err := mountpoint(c.root, destination, isDir)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	isProc, err := isFilesystem(mnt, unix.PROC_SUPER_MAGIC)
	if err != nil {
		return err
	}
	if path.Clean(destination) == "/proc" && !isProc {
		return fmt.Errorf("only procfs can be mounted on /proc")
	}
	if err := c.checkTarget(target, specs.Mount{Type: "bind", Destination: destination}); err != nil {
		return err
	}
	if err := place(mnt, target, o); err != nil {
		return err
	}
	if isProc {
		return c.hideSelf(mnt)
	}
	return c.volumes.add(mnt, destination)
}

// checkTarget refuses mount points that Validate could not see: those to which
// a link of the image leads.
func (c *container) checkTarget(target int, m specs.Mount) error {
	destination := path.Clean(m.Destination)
	if m.Type == "proc" || m.Type == "sysfs" {
		// Paths below these are masked and made read-only by name later on.
		fd, err := openIn(c.root, destination, 0, unix.RESOLVE_NO_SYMLINKS)
		if err == unix.ELOOP {
			return fmt.Errorf("the image has a symbolic link there, and %s can only be mounted on a directory", m.Type)
		}
		if err != nil {
			return err
		}
		unix.Close(fd)
		return nil
	}
	inProc, err := isFilesystem(target, unix.PROC_SUPER_MAGIC)
	if err != nil {
		return err
	}
	if inProc && !slices.Contains(safeInProc, destination) && destination != "/proc" {
		return fmt.Errorf("the image has a symbolic link into procfs there, where nothing can be mounted")
	}
	return nil
}
