package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/moby/sys/userns"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// container is what the set-up of one container shares.
type container struct {
	spec    *specs.Spec
	root    int  // the mount of the root file system
	userNS  bool // it may not do what takes the host's root
	given   Given
	cgroups []hierarchy
	covers  covers
	volumes volumes
}

// EnterRootfs makes the mounts, devices, host name and sysctls of the spec and
// leaves the process in the container's root file system, in /. rootfs is the
// absolute path of that file system as the host sees it. given is asked once for
// each mount that IsGiven, in their order, and may be nil where there is none.
//
// The process must be in the namespaces that Namespaces named and in the cgroup
// it is to stay in, have all capabilities over them, and see the host's /proc,
// /dev and /sys. EnterRootfs closes every file, directory and device that the
// process has open but its standard input, output and error; sockets and pipes
// stay. After an error the process is neither here nor there and must exit.
func EnterRootfs(spec *specs.Spec, rootfs string, given Given) (err error) {
	if err := closeFiles(); err != nil {
		return err
	}
	// The modes that are asked for are the modes that files get.
	unix.Umask(0)
	c := &container{spec: spec, given: given, covers: covers{empty: -1, null: -1}, volumes: volumes{}}
	defer c.covers.close()
	listed, _ := namespace(spec, specs.UserNamespace)
	c.userNS = listed || userns.RunningInUserNS()

	// The paths of the process's cgroups read as "/" once it has a namespace
	// of its own for them.
	if c.cgroups, err = ownHierarchies(spec); err != nil {
		return err
	}
	if _, created := namespace(spec, specs.CgroupNamespace); created {
		if err := unshareCgroup(); err != nil {
			return err
		}
	}
	if err := configureKernel(spec); err != nil {
		return err
	}
	if err := c.openRoot(rootfs); err != nil {
		return err
	}
	defer unix.Close(c.root)
	if !c.mountsOn("/dev") {
		if err := c.mount(ownDev); err != nil {
			return fmt.Errorf("/dev: %w", err)
		}
	}
	for i, m := range spec.Mounts {
		if err := c.mountSpec(i); err != nil {
			return fmt.Errorf("mounts[%d]: %s: %w", i, describe(m), err)
		}
	}
	if err := c.makeDevices(); err != nil {
		return err
	}
	cwd, err := makeDirs(c.root, spec.Process.Cwd)
	if err != nil {
		return fmt.Errorf("process.cwd: %s: %w", spec.Process.Cwd, err)
	}
	unix.Close(cwd)
	if err := c.protectPaths(); err != nil {
		return err
	}
	if err := setAttributes(c.root, inert, true); err != nil {
		return fmt.Errorf("taking set-user-id bits and executability from the mounts: %w", err)
	}
	if spec.Root.Readonly {
		if err := setAttributes(c.root, mountFlags["ro"], false); err != nil {
			return fmt.Errorf("root.readonly: %w", err)
		}
	}
	return c.pivot()
}

// inert are the flags of all mounts of a container: a guest executes no file, and
// what breaks out of it shall not either.
var inert = attributes{unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC, unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC}

// openRoot cuts the process's mounts off from those of the host and opens a
// mount of its own of the root file system, over the one that is there. Device
// nodes of the image do nothing.
func (c *container) openRoot(rootfs string) error {
	if !filepath.IsAbs(rootfs) || filepath.Clean(rootfs) == "/" {
		return fmt.Errorf("root.path: %q is not an absolute path other than /", rootfs)
	}
	// Slaves still see what the host mounts below a volume; nothing comes back.
	cut := propagations["rslave"]
	if p := c.spec.Linux.RootfsPropagation; p != "" && propagations[p].kind == unix.MS_PRIVATE {
		cut = propagations["rprivate"]
	}
	if err := unix.Mount("", "/", "", uintptr(cut.kind)|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cutting the container's mounts off from the host's: %w", err)
	}
	dir, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("root.path: %s: %w", rootfs, err)
	}
	defer unix.Close(dir)
	c.root, err = cloneMount(dir, true)
	if err != nil {
		return fmt.Errorf("root.path: %s: %w", rootfs, err)
	}
	err = setAttributes(c.root, mountFlags["nodev"], true)
	if err == nil {
		err = attach(c.root, dir)
	}
	if err != nil {
		unix.Close(c.root)
		return fmt.Errorf("root.path: %s: %w", rootfs, err)
	}
	return nil
}

// pivot makes c.root the root directory.
func (c *container) pivot() error {
	if err := pivot(c.root); err != nil {
		return err
	}
	// A shared or unbindable root could not have been moved.
	if p := c.spec.Linux.RootfsPropagation; p != "" && propagations[p].kind != unix.MS_PRIVATE {
		if err := setPropagation(c.root, propagations[p]); err != nil {
			return fmt.Errorf("linux.rootfsPropagation: %w", err)
		}
	}
	return nil
}

// pivot makes an attached mount the root directory and lets go of the host's,
// which the kernel has then put on top of it: pivot_root(2), NOTES.
func pivot(root int) error {
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("entering the root file system: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("making the root file system the root directory: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("letting go of the host's root directory: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("entering the root file system: %w", err)
	}
	return nil
}

// closeFiles closes the open files of the host. A process can open what its own
// descriptors stand for again, through /proc/self/fd and with other rights, so
// each of them would be a way out for a guest. There are the ones that a program
// inherits, and those through which Go's runtime watches the CPU limit of its
// cgroup, which it does not use where GOMAXPROCS is set.
func closeFiles() error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("looking for open files: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("looking for open files: %w", err)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= 2 || fd == int(dir.Fd()) {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("looking at descriptor %d: %w", fd, err)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK, unix.S_IFCHR:
			unix.Close(fd)
		}
	}
	return nil
}
