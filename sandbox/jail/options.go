package jail

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// attributes is a change of the flags of a mount: those in mask become as they
// are in set.
type attributes struct{ mask, set uint64 }

func (a *attributes) add(b attributes) {
	a.mask |= b.mask
	a.set = a.set&^b.mask | b.set
}

// mountFlags has the options that are flags of one mount; with an r before the
// name they reach its submounts too. From runtime-spec config.md, "Linux mount
// options", with the meaning of mount(8).
var mountFlags = map[string]attributes{
	"ro":            {unix.MOUNT_ATTR_RDONLY, unix.MOUNT_ATTR_RDONLY},
	"rw":            {unix.MOUNT_ATTR_RDONLY, 0},
	"nosuid":        {unix.MOUNT_ATTR_NOSUID, unix.MOUNT_ATTR_NOSUID},
	"suid":          {unix.MOUNT_ATTR_NOSUID, 0},
	"nodev":         {unix.MOUNT_ATTR_NODEV, unix.MOUNT_ATTR_NODEV},
	"dev":           {unix.MOUNT_ATTR_NODEV, 0},
	"noexec":        {unix.MOUNT_ATTR_NOEXEC, unix.MOUNT_ATTR_NOEXEC},
	"exec":          {unix.MOUNT_ATTR_NOEXEC, 0},
	"nosymfollow":   {unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
	"symfollow":     {unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	"nodiratime":    {unix.MOUNT_ATTR_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
	"diratime":      {unix.MOUNT_ATTR_NODIRATIME, 0},
	"noatime":       {unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_NOATIME},
	"atime":         {unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_RELATIME},
	"relatime":      {unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_RELATIME},
	"norelatime":    {unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_RELATIME},
	"strictatime":   {unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_STRICTATIME},
	"nostrictatime": {unix.MOUNT_ATTR__ATIME, unix.MOUNT_ATTR_RELATIME},
}

type propagation struct {
	kind      uint64
	recursive bool
}

var propagations = map[string]propagation{
	"private": {unix.MS_PRIVATE, false}, "rprivate": {unix.MS_PRIVATE, true},
	"slave": {unix.MS_SLAVE, false}, "rslave": {unix.MS_SLAVE, true},
	"shared": {unix.MS_SHARED, false}, "rshared": {unix.MS_SHARED, true},
	"unbindable": {unix.MS_UNBINDABLE, false}, "runbindable": {unix.MS_UNBINDABLE, true},
}

// options are the options of one mount.
type options struct {
	bind, recursive bool
	// mapped has the ids of files mapped, of the mount or of its submounts too.
	mapped, mappedTree bool
	top, tree          attributes // of the mount alone, and of its submounts too
	propagation        []propagation
	copyUp             bool
	data               []string // what is left is the file system's
}

// MountOptions returns the mount options that are understood, sorted; others are
// handed to the file system that is mounted.
func MountOptions() []string {
	known := []string{"bind", "rbind", "idmap", "ridmap", "tmpcopyup", "defaults", "silent", "loud"}
	for name := range mountFlags {
		known = append(known, name, "r"+name)
	}
	known = slices.AppendSeq(known, maps.Keys(propagations))
	slices.Sort(known)
	return known
}

func parseOptions(m specs.Mount) (options, error) {
	o := options{bind: m.Type == "bind", mapped: len(m.UIDMappings)+len(m.GIDMappings) > 0}
	var words []string
	for _, option := range m.Options {
		words = append(words, strings.Split(option, ",")...)
	}
	for _, word := range words {
		top, isTop := mountFlags[word]
		tree, isTree := mountFlags[strings.TrimPrefix(word, "r")]
		prop, isProp := propagations[word]
		switch {
		case isTop:
			o.top.add(top)
		case isTree:
			o.tree.add(tree)
		case isProp:
			o.propagation = append(o.propagation, prop)
		case word == "bind":
			o.bind = true
		case word == "rbind":
			o.bind, o.recursive = true, true
		case word == "tmpcopyup":
			o.copyUp = true
		case word == "", word == "defaults", word == "silent", word == "loud":
		case word == "remount":
			return o, fmt.Errorf("remounting is not supported")
		case word == "idmap":
			o.mapped = true
		case word == "ridmap":
			o.mapped, o.mappedTree = true, true
		default:
			o.data = append(o.data, word)
		}
	}
	switch {
	case o.bind && len(o.data) > 0:
		return o, fmt.Errorf("%q means nothing for a bind mount", o.data[0])
	case m.Type == "cgroup" && len(o.data) > 0:
		return o, fmt.Errorf("%q means nothing for a cgroup mount", o.data[0])
	case o.mapped && !o.bind:
		return o, fmt.Errorf("id-mapped mounts are supported for bind mounts alone")
	case o.copyUp && (o.bind || m.Type != "tmpfs"):
		return o, fmt.Errorf("tmpcopyup means nothing for anything but a tmpfs")
	}
	return o, nil
}

// safeInProc are the files of procfs that a bind mount may replace: views of
// the machine, which tools such as lxcfs narrow to the container. A mount over
// anything else there could make the kernel's answers lie.
var safeInProc = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps",
	"/proc/uptime", "/proc/loadavg", "/proc/slabinfo", "/proc/net/dev",
	"/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
}

func checkMounts(s *specs.Spec) error {
	for i, m := range s.Mounts {
		field := fmt.Sprintf("mounts[%d]", i)
		if err := checkPath(field+".destination", m.Destination); err != nil {
			return err
		}
		switch {
		case len(m.UIDMappings) > 0 && len(m.GIDMappings) == 0:
			return fmt.Errorf("%s.gidMappings: missing, and there are uidMappings", field)
		case len(m.GIDMappings) > 0 && len(m.UIDMappings) == 0:
			return fmt.Errorf("%s.uidMappings: missing, and there are gidMappings", field)
		}
		o, err := parseOptions(m)
		if err != nil {
			return fmt.Errorf("%s.options: %w", field, err)
		}
		if listed, _ := namespace(s, specs.UserNamespace); o.mapped && !listed {
			return fmt.Errorf("%s.options: an id-mapped mount needs linux.namespaces[user], whose ids it maps to", field)
		}
		destination := path.Clean(m.Destination)
		switch {
		case destination == "/":
			return fmt.Errorf("%s.destination: / is the root file system itself", field)
		case destination == "/proc" && !o.bind && m.Type != "proc":
			return fmt.Errorf("%s.destination: only procfs can be mounted on /proc", field)
		case strings.HasPrefix(destination, "/proc/") && !slices.Contains(safeInProc, destination):
			return fmt.Errorf("%s.destination: %q is in procfs, where nothing can be mounted but a few views of the machine such as /proc/cpuinfo", field, destination)
		case o.bind:
			if err := checkPath(field+".source", m.Source); err != nil {
				return err
			}
		case m.Type == "" || m.Type == "none":
			return fmt.Errorf("%s.type: missing, and the options name no bind mount", field)
		}
	}
	return nil
}
