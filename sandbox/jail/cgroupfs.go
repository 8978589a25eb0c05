package jail

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchy is a cgroup v1 hierarchy of the host with the process's place in it.
type hierarchy struct {
	name        string   // of its directory, "cpu,cpuacct"
	controllers []string // "cpu", "cpuacct"
	dir         string   // the process's cgroup, as a path of the host
}

func isUnified() (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &st); err != nil {
		return false, fmt.Errorf("%s: %w", cgroupRoot, err)
	}
	return int64(st.Type) == unix.CGROUP2_SUPER_MAGIC, nil
}

// ownHierarchies reads the process's cgroups where the spec has a cgroup mount
// and the host has cgroup v1.
func ownHierarchies(spec *specs.Spec) ([]hierarchy, error) {
	if !slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" }) {
		return nil, nil
	}
	if unified, err := isUnified(); err != nil || unified {
		return nil, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseHierarchies(string(own), string(mounts))
}

// parseHierarchies joins /proc/PID/cgroup, cgroups(7), with /proc/PID/mountinfo,
// proc_pid_mountinfo(5). Hierarchies that are mounted nowhere are left out.
func parseHierarchies(own, mounts string) ([]hierarchy, error) {
	var found []hierarchy
	for lines := bufio.NewScanner(strings.NewReader(own)); lines.Scan(); {
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) != 3 || parts[1] == "" { // cgroup v2 beside v1
			continue
		}
		h := hierarchy{controllers: strings.Split(parts[1], ",")}
		root, mountpoint, ok := findCgroupMount(mounts, h.controllers)
		if !ok {
			continue
		}
		below, ok := strings.CutPrefix(parts[2]+"/", strings.TrimSuffix(root, "/")+"/")
		if !ok || strings.HasPrefix(parts[2], "/..") {
			return nil, fmt.Errorf("the container's cgroup %s of %s is not below %s, which is mounted at %s", parts[2], parts[1], root, mountpoint)
		}
		h.name, h.dir = path.Base(mountpoint), path.Join(mountpoint, below)
		found = append(found, h)
	}
	return found, nil
}

func findCgroupMount(mounts string, controllers []string) (root, mountpoint string, ok bool) {
	lines := bufio.NewScanner(strings.NewReader(mounts))
	lines.Buffer(nil, len(mounts)+1)
	for lines.Scan() {
		left, right, _ := strings.Cut(lines.Text(), " - ")
		mount, fs := strings.Fields(left), strings.Fields(right)
		if len(mount) < 5 || len(fs) < 3 || fs[0] != "cgroup" {
			continue
		}
		options := strings.Split(fs[2], ",")
		if !slices.ContainsFunc(controllers, func(c string) bool { return !slices.Contains(options, c) }) {
			return mount[3], mount[4], true
		}
	}
	return "", "", false
}

// mountCgroups shows the container its own cgroup at destination, and not its
// neighbours unless it has the host's cgroup namespace.
func (c *container) mountCgroups(destination string, o options) error {
	unified, err := isUnified()
	if err != nil {
		return err
	}
	if !unified {
		return c.mountHierarchies(destination, o)
	}
	if listed, _ := namespace(c.spec, specs.CgroupNamespace); !listed {
		// A new mount from the host's cgroup namespace would reset the options
		// of the host's own mount: cgroup_apply_root_flags in the kernel.
		return c.bind(cgroupRoot, destination, o)
	}
	target, _, err := mountpoint(c.root, destination, true)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	mnt, err := newMount("cgroup2", "cgroup", nil, o.top.set|o.tree.set)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	return place(mnt, target, o)
}

// mountHierarchies makes the layout of cgroup v1: a tmpfs with a directory for
// each hierarchy and a link for each controller of those that have several.
func (c *container) mountHierarchies(destination string, o options) error {
	target, _, err := mountpoint(c.root, destination, true)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	attrs := o.top.set | o.tree.set
	// The tmpfs is read-only when everything is in it.
	mnt, err := newMount("tmpfs", "cgroup", []string{"mode=755"}, attrs&^unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	// Only a mount in the process's namespace can have mounts below it.
	if err := place(mnt, target, o); err != nil {
		return err
	}
	for _, h := range c.cgroups {
		if err := c.mountHierarchy(mnt, h, attributes{attrs, attrs}); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
	}
	return setAttributes(mnt, attributes{attrs, attrs}, false)
}

func (c *container) mountHierarchy(in int, h hierarchy, attrs attributes) error {
	src, err := unix.Open(h.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", h.dir, err)
	}
	defer unix.Close(src)
	mnt, err := cloneMount(src, false)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	if err := setAttributes(mnt, attrs, false); err != nil {
		return err
	}
	target, err := makeDirs(in, h.name)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	if err := attach(mnt, target); err != nil {
		return err
	}
	for _, controller := range h.controllers {
		controller = strings.TrimPrefix(controller, "name=")
		if controller == h.name {
			continue
		}
		if err := unix.Symlinkat(h.name, in, controller); err != nil {
			return fmt.Errorf("link %s: %w", controller, err)
		}
	}
	return nil
}
