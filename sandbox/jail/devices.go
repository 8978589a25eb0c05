package jail

import (
	"fmt"
	"os"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// defaultDevices are in every container: runtime-spec config-linux.md,
// "Default Devices", less console, which is bindTerminal's, and ptmx.
var defaultDevices = []specs.LinuxDevice{
	{Path: "/dev/null", Type: "c", Major: 1, Minor: 3},
	{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5},
	{Path: "/dev/full", Type: "c", Major: 1, Minor: 7},
	{Path: "/dev/random", Type: "c", Major: 1, Minor: 8},
	{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9},
	{Path: "/dev/tty", Type: "c", Major: 5, Minor: 0},
}

// ownDev is mounted where the spec mounts nothing on /dev: in the image's own
// directory devices would do nothing, and stay in the image.
var ownDev = specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}}

var deviceLinks = []struct{ name, target string }{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
}

var deviceTypes = map[string]uint32{"c": unix.S_IFCHR, "u": unix.S_IFCHR, "b": unix.S_IFBLK, "p": unix.S_IFIFO}

func checkDevices(s *specs.Spec) error {
	for i, d := range s.Linux.Devices {
		field := fmt.Sprintf("linux.devices[%d]", i)
		if err := checkPath(field+".path", d.Path); err != nil {
			return err
		}
		if deviceTypes[d.Type] == 0 {
			return fmt.Errorf("%s.type: %q is none of c, u, b and p", field, d.Type)
		}
		if d.Type != "p" && (d.Major < 0 || d.Minor < 0 || d.Major >= 1<<32 || d.Minor >= 1<<32) {
			return fmt.Errorf("%s: %d:%d is not a device number", field, d.Major, d.Minor)
		}
	}
	return nil
}

// makeDevices fills /dev, unless it is the host's.
func (c *container) makeDevices() error {
	for _, m := range c.spec.Mounts {
		if o, _ := parseOptions(m); o.bind && path.Clean(m.Destination) == "/dev" {
			return nil
		}
	}
	for _, d := range defaultDevices {
		if err := c.makeDevice(d); err != nil {
			return fmt.Errorf("default device %s: %w", d.Path, err)
		}
	}
	for i, d := range c.spec.Linux.Devices {
		if err := c.makeDevice(d); err != nil {
			return fmt.Errorf("linux.devices[%d]: %s: %w", i, d.Path, err)
		}
	}
	if c.spec.Process.Terminal {
		if err := c.bindTerminal(); err != nil {
			return fmt.Errorf("/dev/console: %w", err)
		}
	}
	dev, err := c.deviceDir("/dev")
	if err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	defer unix.Close(dev)
	for _, link := range deviceLinks {
		if err := unix.Symlinkat(link.target, dev, link.name); err != nil && err != unix.EEXIST {
			return fmt.Errorf("/dev/%s: %w", link.name, err)
		}
	}
	// The terminals of a container are those of its own devpts.
	if err := unix.Unlinkat(dev, "ptmx", 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("/dev/ptmx: %w", err)
	}
	if err := unix.Symlinkat("pts/ptmx", dev, "ptmx"); err != nil {
		return fmt.Errorf("/dev/ptmx: %w", err)
	}
	return nil
}

// bindTerminal makes the terminal that is the process's standard input, which
// may be of a file system that the container does not have, its /dev/console.
func (c *container) bindTerminal() error {
	// By its path, because a mount can only be cloned from the process's own mount
	// namespace, and the descriptor's is the parent's.
	terminal, err := os.Readlink("/proc/self/fd/0")
	if err != nil {
		return err
	}
	var there, open unix.Stat_t
	if err := unix.Stat(terminal, &there); err != nil {
		return err
	}
	if err := unix.Fstat(0, &open); err != nil {
		return err
	}
	if there.Rdev != open.Rdev {
		return fmt.Errorf("the host has another terminal than the process's at %s", terminal)
	}
	return c.bind(terminal, "/dev/console", options{})
}

// makeDevice makes a device node. A user namespace may not, so there the
// host's node of the same path is mounted instead.
func (c *container) makeDevice(d specs.LinuxDevice) error {
	kind := deviceTypes[d.Type]
	number := unix.Mkdev(uint32(d.Major), uint32(d.Minor))
	if kind == unix.S_IFIFO {
		number = 0
	}
	if c.userNS && kind != unix.S_IFIFO {
		return c.bindDevice(d.Path, kind, number)
	}
	dir, name := path.Split(path.Clean(d.Path))
	if kind != unix.S_IFIFO && !strings.HasPrefix(dir, "/dev/") {
		return c.makeElsewhere(d, kind, number)
	}
	parent, err := c.deviceDir(dir)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	return makeNode(parent, name, kind, number, d)
}

// makeElsewhere makes a device node in /dev, the only place where one works, and
// binds it to where it shall be.
func (c *container) makeElsewhere(d specs.LinuxDevice, kind uint32, number uint64) error {
	const name = ".elsewhere"
	dev, err := c.deviceDir("/dev")
	if err != nil {
		return err
	}
	defer unix.Close(dev)
	if err := makeNode(dev, name, kind, number, d); err != nil {
		return err
	}
	node, err := openIn(dev, name, unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(node)
	mnt, err := cloneMount(node, false)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	target, _, err := mountpoint(c.root, d.Path, false)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if err := attach(mnt, target); err != nil {
		return err
	}
	return unix.Unlinkat(dev, name, 0)
}

// makeNode makes the device, or takes the one that is there already for it.
func makeNode(parent int, name string, kind uint32, number uint64, d specs.LinuxDevice) error {
	mode := uint32(0o666)
	if d.FileMode != nil {
		mode = uint32(d.FileMode.Perm())
	}
	err := unix.Mknodat(parent, name, kind|mode, int(number))
	if err == unix.EEXIST {
		var st unix.Stat_t
		if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != kind || st.Rdev != number {
			return fmt.Errorf("something else is there already")
		}
	} else if err != nil {
		return err
	}
	uid, gid := 0, 0
	if d.UID != nil {
		uid = int(*d.UID)
	}
	if d.GID != nil {
		gid = int(*d.GID)
	}
	return unix.Fchownat(parent, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// deviceDir is makeDirs for a directory that gets devices. By a link, an image
// could have them made in a volume, and so on the host: its /dev leads there, or
// what a volume is mounted on leads to /dev.
func (c *container) deviceDir(dir string) (int, error) {
	fd, err := makeDirs(c.root, dir)
	if err != nil {
		return -1, err
	}
	destination, isVolume, err := c.volumes.at(fd)
	if err == nil && isVolume && path.Clean(dir) != destination && !strings.HasPrefix(path.Clean(dir), destination+"/") {
		err = fmt.Errorf("the image has a symbolic link that brings it and the volume at %s together", destination)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// volumes are the destinations of the bind mounts, by the kernel's numbers of the mounts.
type volumes map[uint64]string

func (v volumes) add(mnt int, destination string) error {
	id, err := mountID(mnt)
	if err != nil {
		return err
	}
	v[id] = path.Clean(destination)
	return nil
}

// at says which volume fd is in.
func (v volumes) at(fd int) (destination string, isVolume bool, err error) {
	id, err := mountID(fd)
	if err != nil {
		return "", false, err
	}
	destination, isVolume = v[id]
	return destination, isVolume, nil
}

func (c *container) bindDevice(where string, kind uint32, number uint64) error {
	var st unix.Stat_t
	if err := unix.Stat(where, &st); err != nil {
		return fmt.Errorf("a user namespace needs the host's device: %w", err)
	}
	if st.Mode&unix.S_IFMT != kind || st.Rdev != number {
		return fmt.Errorf("a user namespace needs the host's device, and the host has another one there")
	}
	return c.bind(where, where, options{})
}
