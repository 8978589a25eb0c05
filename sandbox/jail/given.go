package jail

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/userns"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Given hands EnterRootfs the mount that Bind has made of spec.Mounts[i]. EnterRootfs
// closes it.
type Given func(i int) (*os.File, error)

// IsGiven says whether a mount of a spec, which Validate has accepted, is one that
// the parent makes: a bind mount of a container with a user namespace. That has no
// rights over the host's files, and may not even be able to go to the source.
func IsGiven(spec *specs.Spec, m specs.Mount) bool {
	o, err := parseOptions(m)
	listed, _ := namespace(spec, specs.UserNamespace)
	return err == nil && o.bind && listed
}

// Bind makes a detached mount of the source of a bind mount. If that is id-mapped,
// files in it belong to the users of a user namespace as they do to those of the
// host in the source. The process is one in the user namespace; its mappings must
// be those of the mount, if that has any. The caller closes the mount.
func Bind(m specs.Mount, pid int) (_ *os.File, err error) {
	o, err := parseOptions(m)
	if err != nil {
		return nil, err
	}
	src, err := unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(src)
	mnt, err := cloneMount(src, o.recursive)
	if err != nil {
		return nil, explainClone(err, o, userns.RunningInUserNS())
	}
	file := os.NewFile(uintptr(mnt), m.Source)
	if o.mapped {
		err = mapMount(mnt, m, o.mappedTree, pid)
	}
	if err == nil {
		// It is a copy of a mount of the host's, whose changes may come in and not go out.
		err = setPropagation(mnt, propagations["rslave"])
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// mapMount maps the ids of a detached mount.
func mapMount(mnt int, m specs.Mount, tree bool, pid int) error {
	for _, ids := range []struct {
		field, file string
		want        []specs.LinuxIDMapping
	}{
		{"uidMappings", "uid_map", m.UIDMappings},
		{"gidMappings", "gid_map", m.GIDMappings},
	} {
		have, err := readMappings(fmt.Sprintf("/proc/%d/%s", pid, ids.file))
		if err != nil {
			return err
		}
		if len(ids.want) > 0 && !slices.Equal(have, ids.want) {
			return fmt.Errorf("%s: they are %v, and those of the container's user namespace %v; only equal ones are supported", ids.field, ids.want, have)
		}
	}
	users, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	if err != nil {
		return err
	}
	defer users.Close()
	err = mountSetattr(mnt, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())}, tree)
	if err != nil {
		return fmt.Errorf("mapping the ids of its files: %w", explainMap(err))
	}
	return nil
}

func explainMap(err error) error {
	switch err {
	case unix.EINVAL:
		return fmt.Errorf("%w; its file system cannot do that on this kernel, or it is mapped already", err)
	case unix.EPERM:
		return fmt.Errorf("%w; that takes CAP_SYS_ADMIN over its file system", err)
	}
	return err
}

// readMappings reads a file of the form of user_namespaces(7).
func readMappings(file string) ([]specs.LinuxIDMapping, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var mappings []specs.LinuxIDMapping
	for line := range strings.Lines(string(data)) {
		var m specs.LinuxIDMapping
		if _, err := fmt.Sscan(line, &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		mappings = append(mappings, m)
	}
	return mappings, nil
}

// bindGiven is bind with the mount that the parent has made.
func (c *container) bindGiven(i int, m specs.Mount, o options) error {
	file, err := c.given(i)
	if err != nil {
		return err
	}
	defer file.Close()
	return c.bindMount(int(file.Fd()), m.Destination, o)
}
