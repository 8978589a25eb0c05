package jail

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// covers hides files behind the host's /dev/null and directories behind one
// empty, read-only tmpfs.
type covers struct{ empty, null int }

func (c *covers) close() {
	for _, fd := range []int{c.empty, c.null} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (c *covers) cover(target int) error {
	var st unix.Stat_t
	if err := unix.Fstat(target, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return c.coverFile(target)
	}
	if c.empty >= 0 {
		mnt, err := cloneMount(c.empty, false)
		if err != nil {
			return err
		}
		defer unix.Close(mnt)
		return attach(mnt, target)
	}
	mnt, err := newMount("tmpfs", "tmpfs", []string{"mode=555", "nr_blocks=1", "nr_inodes=2"},
		unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return err
	}
	// Copies can be made once it is in the process's mount namespace.
	if err := attach(mnt, target); err != nil {
		unix.Close(mnt)
		return err
	}
	c.empty = mnt
	return nil
}

func (c *covers) coverFile(target int) error {
	if c.null < 0 {
		null, err := unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("/dev/null of the host: %w", err)
		}
		c.null = null
		var st unix.Stat_t
		if err := unix.Fstat(null, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
			return fmt.Errorf("/dev/null of the host is not the null device")
		}
	}
	mnt, err := cloneMount(c.null, false)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	return attach(mnt, target)
}

// hideSelf makes a mount of procfs read-only, whatever the spec says, and covers
// in it what of the process's own directory leads to its memory. No permission of
// the kernel keeps a process from its own memory, which is a file below the number
// of each of its threads: a guest that is user 0 could write to the process that
// runs it, and so could one that joins the container later. The covers make it
// harder to read there, too; by the numbers of its threads a guest still can, and
// sees no other process's memory than its own.
func (c *container) hideSelf(proc int) error {
	if err := setAttributes(proc, mountFlags["ro"], true); err != nil {
		return fmt.Errorf("making procfs read-only: %w", err)
	}
	for _, name := range []string{"self/mem", "self/task"} {
		target, err := openIn(proc, name, 0, 0)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue // a part of procfs only, or one without this process
		}
		if err != nil {
			return fmt.Errorf("hiding %s: %w", name, err)
		}
		err = c.covers.cover(target)
		unix.Close(target)
		if err != nil {
			return fmt.Errorf("hiding %s: %w", name, err)
		}
	}
	return nil
}

// protectPaths makes the read-only and the masked paths of the spec. Those that
// do not exist need no protection.
func (c *container) protectPaths() error {
	for i, name := range c.spec.Linux.ReadonlyPaths {
		if err := c.onExisting(name, makeReadonly); err != nil {
			return fmt.Errorf("linux.readonlyPaths[%d]: %s: %w", i, name, err)
		}
	}
	for i, name := range c.spec.Linux.MaskedPaths {
		if err := c.onExisting(name, c.covers.cover); err != nil {
			return fmt.Errorf("linux.maskedPaths[%d]: %s: %w", i, name, err)
		}
	}
	return nil
}

func (c *container) onExisting(name string, protect func(target int) error) error {
	target, err := openIn(c.root, name, 0, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return protect(target)
}

// makeReadonly leaves the mounts below target as the spec's mounts made them.
func makeReadonly(target int) error {
	mnt, err := cloneMount(target, true)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	if err := setAttributes(mnt, mountFlags["ro"], false); err != nil {
		return err
	}
	return attach(mnt, target)
}
