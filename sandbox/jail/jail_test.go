package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestOrdinaryContainer(t *testing.T) {
	rootfs := newRootfs(t, map[string]string{"etc/motd": "inside"})
	spec := newSpec()
	spec.Domainname = "example"
	spec.Process.Cwd = "/work/here"
	spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "7", "kernel/shmmni": "99", "fs.mqueue.msg_max": "11"}
	b := enter(t, spec, rootfs)

	b.reads("/etc/motd", "inside")
	b.must("write", "/etc/new", "x")
	if _, err := os.Stat(filepath.Join(rootfs, "etc/new")); err != nil {
		t.Errorf("a file written in the container is not in its root file system: %v", err)
	}
	if got := b.must("list", "/", "").List; !slices.Equal(got, []string{"dev", "etc", "proc", "run", "sys", "tmp", "work"}) {
		t.Errorf("/ holds %v", got)
	}
	// The host's root directory would be a second mount there.
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", b.pid))
	if got := strings.Count(string(mounts), " / rw,"); err != nil || got != 1 {
		t.Errorf("%d mounts at /, error %v:\n%s", got, err, mounts)
	}
	for path, want := range map[string][]string{
		"/proc":       {"nosuid,nodev,noexec", "- proc proc"},
		"/dev":        {"nosuid", "- tmpfs tmpfs", "size=65536k", "mode=755"},
		"/dev/pts":    {"nosuid,noexec", "- devpts devpts", "gid=5", "mode=620", "ptmxmode=666"},
		"/dev/shm":    {"nosuid,nodev,noexec", "- tmpfs shm"},
		"/dev/mqueue": {"nosuid,nodev,noexec", "- mqueue mqueue"},
		"/sys":        {"ro,nosuid,nodev,noexec", "- sysfs sysfs"},
		"/run":        {"nosuid", "- tmpfs tmpfs"},
		"/proc/sys":   {"ro,nosuid,nodev,noexec", "- proc proc"},
	} {
		for _, part := range want {
			if got := b.mountAt(path); !strings.Contains(got, part) {
				t.Errorf("the mount at %s is %q, without %q", path, got, part)
			}
		}
	}
	if got := b.must("getwd", "", "").Text; got != "/work/here" {
		t.Errorf("the working directory is %s", got)
	}
	if got := b.must("hostname", "", "").Text; got != "box" {
		t.Errorf("the host name is %s", got)
	}
	b.reads("/proc/sys/kernel/domainname", "example")
	b.reads("/proc/sys/net/ipv4/ip_unprivileged_port_start", "7")
	b.reads("/proc/sys/kernel/shmmni", "99")
	b.reads("/proc/sys/fs/mqueue/msg_max", "11")
	b.must("loopback", "", "")

	own, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.must("keyring", "", "").Text; got == fmt.Sprint(own) {
		t.Errorf("the session keyring is the host's")
	}
	var host, cgroup unix.Stat_t
	if err := unix.Stat("/proc/self/ns/cgroup", &host); err != nil {
		t.Fatal(err)
	}
	for i, file := range threadFiles(t, b.pid, "ns/cgroup") {
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err != nil || st.Ino == host.Ino || i > 0 && st.Ino != cgroup.Ino {
			t.Errorf("%s is %d, of the host %d, of the first thread %d, error %v", file, st.Ino, host.Ino, cgroup.Ino, err)
		}
		cgroup = st
	}

	b.refuses("write", "/proc/sys/kernel/shmmni", unix.EROFS)
	b.refuses("write", "/proc/irq/default_smp_affinity", unix.EROFS)
	b.refuses("mkdir", "/sys/fs/x", unix.EROFS, unix.EPERM)
	b.reads("/proc/cmdline", "")
	b.reads("/proc/keys", "")
	for _, dir := range []string{"/sys/firmware", "/proc/self/task"} {
		if got := b.must("list", dir, "").List; len(got) > 0 {
			t.Errorf("%s is not empty: %v", dir, got)
		}
		b.refuses("mkdir", dir+"/x", unix.EROFS)
	}
	if got := b.must("stat", "/proc/self/mem", "").Stat; got.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("/proc/self/mem is open: device %d", got.Rdev)
	}
	for _, target := range b.must("descriptors", "", "").List {
		if strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "/dev/null") && !strings.HasPrefix(target, "/proc/") {
			t.Errorf("a descriptor of %s is left open", target)
		}
	}
}

func TestDevices(t *testing.T) {
	rootfs := newRootfs(t, nil)
	spec := newSpec()
	mode, id := os.FileMode(0o640), uint32(12)
	spec.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/sub/loop", Type: "b", Major: 7, Minor: 3, FileMode: &mode, UID: &id, GID: &id},
		{Path: "/dev/pipe", Type: "p"},
		{Path: "/dev/null", Type: "c", Major: 1, Minor: 3, FileMode: &mode},
	}
	b := enter(t, spec, rootfs)
	for _, d := range defaultDevices {
		st := b.must("stat", d.Path, "").Stat
		if d.Path == "/dev/null" {
			continue
		}
		if want := uint32(unix.S_IFCHR | 0o666); st.Mode != want || st.Rdev != unix.Mkdev(uint32(d.Major), uint32(d.Minor)) {
			t.Errorf("%s has mode %o and device %x", d.Path, st.Mode, st.Rdev)
		}
	}
	if st := b.must("stat", "/dev/sub/loop", "").Stat; st.Mode != unix.S_IFBLK|0o640 || st.Rdev != unix.Mkdev(7, 3) || st.Uid != 12 || st.Gid != 12 {
		t.Errorf("/dev/sub/loop is %+v", st)
	}
	if st := b.must("stat", "/dev/pipe", "").Stat; st.Mode != unix.S_IFIFO|0o666 {
		t.Errorf("/dev/pipe has mode %o", st.Mode)
	}
	b.must("openrw", "/dev/null", "")
	for link, want := range map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2", "/dev/ptmx": "pts/ptmx"} {
		if got := b.must("readlink", link, "").Text; got != want {
			t.Errorf("%s leads to %s", link, got)
		}
	}
}

// TestDevicesInVolumes has images whose links would have devices made in a
// volume of the host.
func TestDevicesInVolumes(t *testing.T) {
	for name, image := range map[string]struct{ link, target, destination string }{
		"/dev leads to a volume": {"dev", "/vol", "/vol"},
		"a volume leads to /dev": {"vol", "/dev", "/vol"},
		"below a volume":         {"dev", "vol/sub", "/vol"},
	} {
		t.Run(name, func(t *testing.T) {
			volume := t.TempDir()
			addFiles(t, volume, map[string]string{"ptmx": "mine", "sub/file": ""})
			rootfs := newRootfs(t, nil)
			_ = os.Remove(filepath.Join(rootfs, image.link))
			if err := os.Symlink(image.target, filepath.Join(rootfs, image.link)); err != nil {
				t.Fatal(err)
			}
			_, err := tryEnter(t, withMounts(specs.Mount{Destination: image.destination, Type: "bind", Source: volume, Options: []string{"rbind"}}), rootfs)
			if err == nil || !strings.Contains(err.Error(), "symbolic link") {
				t.Errorf("got %v, want an error that tells of the link", err)
			}
			names, err := filepath.Glob(volume + "/*")
			if err != nil || len(names) != 2 {
				t.Errorf("the volume holds %v, %v", names, err)
			}
			if sub, err := os.ReadDir(filepath.Join(volume, "sub")); err != nil || len(sub) != 1 {
				t.Errorf("the folder in the volume holds %v, %v", sub, err)
			}
		})
	}
	// A volume may be mounted where devices shall be.
	spec := withMounts(specs.Mount{Destination: "/vol", Type: "bind", Source: t.TempDir(), Options: []string{"rbind"}})
	spec.Linux.Devices = []specs.LinuxDevice{{Path: "/vol/sub/pipe", Type: "p"}}
	if st := enter(t, spec, newRootfs(t, nil)).must("stat", "/vol/sub/pipe", "").Stat; st.Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Errorf("/vol/sub/pipe has mode %o", st.Mode)
	}
}

func TestReadonlyRoot(t *testing.T) {
	spec := newSpec()
	spec.Root.Readonly = true
	spec.Process.Cwd = "/made"
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/scratch", Type: "tmpfs", Source: "tmpfs"})
	b := enter(t, spec, newRootfs(t, nil))
	b.refuses("write", "/file", unix.EROFS)
	b.refuses("mkdir", "/made/dir", unix.EROFS)
	b.must("write", "/scratch/file", "x")
	b.must("write", "/dev/shm/file", "x")
}

// TestPrivileges looks at the process from outside, thread by thread.
func TestPrivileges(t *testing.T) {
	for name, user := range map[string]specs.User{
		"root":  {},
		"other": {UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 27}},
	} {
		t.Run(name, func(t *testing.T) {
			umask := uint32(0o027)
			user.Umask = &umask
			spec := newSpec()
			spec.Process.User = user
			spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}, Effective: []string{"CAP_CHOWN"}, Permitted: []string{"CAP_CHOWN"}}
			spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE"}}
			b := enter(t, spec, newRootfs(t, nil))

			groups := "Groups:\t "
			if len(user.AdditionalGids) > 0 {
				groups = "Groups:\t5 27 "
			}
			want := []string{
				fmt.Sprintf("Uid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d", user.UID), fmt.Sprintf("Gid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d", user.GID), groups,
				"NoNewPrivs:\t1", "Umask:\t0027",
				"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
			}
			for _, task := range threadFiles(t, b.pid, "status") {
				status, err := os.ReadFile(task)
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range want {
					if !strings.Contains(string(status), line+"\n") {
						t.Errorf("%s has no line %q:\n%s", task, line, status)
					}
				}
			}
			for limit, want := range map[string]string{"RLIMIT_NOFILE": "100 200", "RLIMIT_CORE": "0 0"} {
				if got := b.must("rlimit", limit, "").Text; got != want {
					t.Errorf("%s is %s, want %s", limit, got, want)
				}
			}
			if sid, err := unix.Getsid(b.pid); err != nil || sid != b.pid {
				t.Errorf("the session is %d, error %v", sid, err)
			}
			// What belongs to a process that is not dumpable belongs to root.
			if st, err := os.Stat(fmt.Sprintf("/proc/%d/environ", b.pid)); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
				t.Errorf("the process is dumpable: %v, error %v", st, err)
			}
			if user.UID != 0 {
				b.refuses("write", "/etc/file", unix.EACCES)
			}
			b.refuses("openrw", "/proc/1/clear_refs", unix.EACCES, unix.EINVAL, unix.EPERM)
		})
	}
}

// threadFiles has the paths of a file below /proc of every thread of a container.
func threadFiles(t *testing.T, pid int, name string) []string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", pid, name))
	if err != nil || len(files) < 4 {
		t.Fatalf("threads %v, error %v", files, err)
	}
	return files
}

func TestDiesWithParent(t *testing.T) {
	for name, user := range map[string]specs.User{"root": {}, "other": {UID: 1000, GID: 1000}} {
		t.Run(name, func(t *testing.T) {
			spec := newSpec()
			spec.Process.User = user
			b := enter(t, spec, newRootfs(t, nil))
			b.endParent()
			// A container that outlives its parent ends here, by itself.
			time.AfterFunc(10*time.Second, func() { b.in.Encode(request{Op: "exit"}) })
			if err := b.wait(); err == nil || err.Error() != "signal: killed" {
				t.Errorf("the container ended with %v", err)
			}
		})
	}
}

// TestWorkingDirectoryOfRoot has a directory that the user may not enter.
func TestWorkingDirectoryOfRoot(t *testing.T) {
	rootfs := newRootfs(t, map[string]string{"root/file": "x"})
	if err := os.Chmod(filepath.Join(rootfs, "root"), 0o700); err != nil {
		t.Fatal(err)
	}
	spec := newSpec()
	spec.Process.User = specs.User{UID: 1000, GID: 1000}
	spec.Process.Cwd = "/root"
	b := enter(t, spec, rootfs)
	if got := b.must("getwd", "", "").Text; got != "/root" {
		t.Errorf("the working directory is %s", got)
	}
	b.refuses("read", "/root/file", unix.EACCES)
}

func TestUserNamespace(t *testing.T) {
	rootfs := newRootfs(t, nil)
	err := filepath.WalkDir(filepath.Dir(filepath.Dir(rootfs)), func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Chown(path, 200000, 200000)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	newUserSpec := func() *specs.Spec {
		spec := newSpec()
		spec.Process.User = specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{9}}
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 1000}}
		spec.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 1000}}
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
		return spec
	}
	t.Run("own network", func(t *testing.T) {
		b := enter(t, newUserSpec(), rootfs)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"Uid:\t200007\t200007\t200007\t200007", "Groups:\t200009 ", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
			if !strings.Contains(string(status), line) {
				t.Errorf("the status has no %q:\n%s", line, status)
			}
		}
		b.must("openrw", "/dev/null", "")
		if st := b.must("stat", "/dev/urandom", "").Stat; st.Rdev != unix.Mkdev(1, 9) {
			t.Errorf("/dev/urandom is device %x", st.Rdev)
		}
		if got := b.mountAt("/sys"); !strings.Contains(got, "ro,nosuid") {
			t.Errorf("/sys is %q", got)
		}
		b.refuses("write", "/etc/file", unix.EACCES)
	})
	t.Run("rlimit", func(t *testing.T) {
		// Rights in a user namespace raise no hard limit.
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		spec := newUserSpec()
		spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_NOFILE", Soft: 10, Hard: limit.Max + 1}}
		want := fmt.Sprintf("process.rlimits[1]: the hard limit %d of RLIMIT_NOFILE is above %d, which", limit.Max+1, limit.Max)
		if _, err := tryEnter(t, spec, rootfs); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v", err)
		}
		spec.Process.Rlimits[1].Hard = limit.Max
		enter(t, spec, rootfs)
	})
	t.Run("the host's network", func(t *testing.T) {
		spec := newUserSpec()
		spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
		b := enter(t, spec, rootfs)
		if got := b.mountAt("/sys"); !strings.HasPrefix(got, "ro,nosuid,nodev,noexec") || !strings.Contains(got, "sysfs") {
			t.Errorf("/sys is %q", got)
		}
		if len(b.must("list", "/sys/class/net", "").List) == 0 {
			t.Error("/sys/class/net is empty")
		}
	})
}

func TestJoinedNamespaces(t *testing.T) {
	first := enter(t, newSpec(), newRootfs(t, nil))
	spec := newSpec()
	spec.Hostname = ""
	for i, n := range spec.Linux.Namespaces {
		if file := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.UTSNamespace: "uts", specs.IPCNamespace: "ipc", specs.PIDNamespace: "pid"}[n.Type]; file != "" {
			spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/%s", first.pid, file)
		}
	}
	spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "5"}
	second := enter(t, spec, newRootfs(t, nil))
	if got := second.must("hostname", "", "").Text; got != "box" {
		t.Errorf("the host name in the joined namespace is %q", got)
	}
	first.reads("/proc/sys/net/ipv4/ip_unprivileged_port_start", "5")
	if got := second.must("list", "/proc", "").List; !slices.Contains(got, "1") {
		t.Errorf("/proc of the joined pid namespace holds %v", got)
	}
	// The neighbour has the same user and yet its memory is out of reach.
	second.refuses("read", "/proc/1/mem", unix.EACCES, unix.EPERM)
}
