package jail

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hostMount mounts a tmpfs in the host of the tests until the test ends.
func hostMount(t *testing.T, fstype, dir, data string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(fstype, dir, fstype, 0, data); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
}

func withMounts(mounts ...specs.Mount) *specs.Spec {
	spec := newSpec()
	spec.Mounts = append(spec.Mounts, mounts...)
	return spec
}

func TestBindMounts(t *testing.T) {
	volume := t.TempDir()
	addFiles(t, volume, map[string]string{"file": "content", "sub/below": "plain"})
	hostMount(t, "tmpfs", filepath.Join(volume, "sub"), "")
	addFiles(t, volume, map[string]string{"sub/below": "mounted"})

	bind := func(destination string, options ...string) specs.Mount {
		return specs.Mount{Destination: destination, Type: "bind", Source: volume, Options: options}
	}
	b := enter(t, withMounts(
		bind("/rw", "rbind", "rprivate", "rw", "nosuid"),
		bind("/ro", "rbind", "ro", "noatime"),
		bind("/rro", "rbind", "rro"),
		bind("/single", "bind", "ro", "rw", "noexec", "nodev"),
		bind("/rbound", "rbind", "rnoexec", "rro", "rrw"),
		specs.Mount{Destination: "/etc/new/file", Source: filepath.Join(volume, "file"), Options: []string{"bind", "ro"}},
		specs.Mount{Destination: "/dev/zero2", Type: "bind", Source: "/dev/zero"},
	), newRootfs(t, nil))

	b.reads("/rw/file", "content")
	b.must("write", "/rw/made", "x")
	if data, err := os.ReadFile(filepath.Join(volume, "made")); err != nil || string(data) != "x" {
		t.Errorf("the volume holds %q, error %v", data, err)
	}
	b.reads("/rw/sub/below", "mounted")
	b.refuses("write", "/ro/made", unix.EROFS)
	b.must("write", "/ro/sub/made", "x") // ro is for the mount alone
	b.refuses("write", "/rro/made", unix.EROFS)
	b.refuses("write", "/rro/sub/made", unix.EROFS)
	b.must("write", "/single/made", "x") // the last of ro and rw
	b.reads("/single/sub/below", "plain")
	b.reads("/etc/new/file", "content")
	b.refuses("openrw", "/etc/new/file", unix.EROFS)
	b.must("openrw", "/dev/zero2", "")
	for path, want := range map[string]string{"/rw": "rw,nosuid,nodev,noexec,relatime", "/ro": "ro,nosuid,nodev,noexec,noatime", "/single": "rw,nosuid,nodev,noexec,relatime", "/rbound": "rw,nosuid,nodev,noexec", "/rbound/sub": "rw,nosuid,nodev,noexec"} {
		if got := b.mountAt(path); !strings.HasPrefix(got, want) {
			t.Errorf("the mount at %s is %q, want %q", path, got, want)
		}
	}
}

// TestReadonlySource holds that rw does not lift what the host forbids.
func TestReadonlySource(t *testing.T) {
	volume := t.TempDir()
	hostMount(t, "tmpfs", volume, "")
	if err := unix.Mount("", volume, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOEXEC, ""); err != nil {
		t.Fatal(err)
	}
	b := enter(t, withMounts(specs.Mount{Destination: "/data", Type: "bind", Source: volume, Options: []string{"rw", "exec", "suid"}}), newRootfs(t, nil))
	b.refuses("write", "/data/file", unix.EROFS)
	if got := b.mountAt("/data"); !strings.HasPrefix(got, "ro,nosuid,nodev,noexec") {
		t.Errorf("the mount is %q", got)
	}
}

func TestPropagation(t *testing.T) {
	volume := t.TempDir()
	hostMount(t, "tmpfs", volume, "")
	spec := withMounts(
		specs.Mount{Destination: "/slave", Type: "bind", Source: volume, Options: []string{"rbind", "rslave"}},
		specs.Mount{Destination: "/shared", Type: "bind", Source: volume, Options: []string{"rbind", "rshared"}},
		specs.Mount{Destination: "/private", Type: "bind", Source: volume, Options: []string{"rbind", "rprivate"}},
	)
	spec.Linux.RootfsPropagation = "shared"
	b := enter(t, spec, newRootfs(t, nil))
	addFiles(t, volume, map[string]string{"late/file": "covered"})
	late := filepath.Join(volume, "late")
	if err := unix.Mount("tmpfs", late, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	addFiles(t, late, map[string]string{"file": "late"})
	b.reads("/slave/late/file", "late")
	b.reads("/shared/late/file", "late")
	b.reads("/private/late/file", "covered")
	if got := b.mountAt("/shared"); !strings.Contains(got, "shared:") {
		t.Errorf("/shared is %q", got)
	}
	if got := b.mountAt("/"); !strings.Contains(got, "shared:") {
		t.Errorf("/ is %q", got)
	}
	if err := unix.Unmount(late, 0); err != nil {
		t.Error(err)
	}
	b.reads("/slave/late/file", "covered")
}

// TestLinksStayInside has images whose links lead out of the root file system.
func TestLinksStayInside(t *testing.T) {
	outside := t.TempDir()
	addFiles(t, outside, map[string]string{"secret": "host"})
	volume := t.TempDir()
	addFiles(t, volume, map[string]string{"file": "volume"})
	up := strings.Repeat("../", 20)
	rootfs := newRootfs(t, map[string]string{
		"relative":     "->" + up + outside[1:],
		"absolute":     "->" + outside,
		"chain":        "->/relative/../absolute",
		"etc/dangling": "->" + up + "run/made",
		"var/run":      "->/nothing/here",
		"dir/file":     "->" + filepath.Join(outside, "secret"),
		"loop":         "->loop",
	})
	spec := withMounts(
		specs.Mount{Destination: "/relative/a", Type: "tmpfs"},
		specs.Mount{Destination: "/absolute", Type: "bind", Source: volume},
		specs.Mount{Destination: "/etc/dangling/b", Type: "bind", Source: volume},
		specs.Mount{Destination: "/var/run/c", Type: "tmpfs"},
		specs.Mount{Destination: "/../../.." + outside + "/d", Type: "tmpfs"},
	)
	spec.Process.Cwd = "/relative/cwd"
	spec.Linux.MaskedPaths = append(spec.Linux.MaskedPaths, "/dir/file", "/absolute/file")
	spec.Linux.Devices = []specs.LinuxDevice{{Path: "/etc/dangling/dev", Type: "c", Major: 1, Minor: 3}}
	b := enter(t, spec, rootfs)

	b.reads(outside+"/file", "")
	b.reads("/absolute/file", "")
	b.reads("/run/made/b/file", "volume")
	if got := b.must("getwd", "", "").Text; got != outside+"/cwd" {
		t.Errorf("the working directory is %s", got)
	}
	for _, path := range []string{outside + "/a", "/nothing/here/c", outside + "/d"} {
		// A mount of the same directory hides those that were made in it before.
		if got := b.mountAt(path); !strings.Contains(got, "tmpfs") {
			t.Errorf("no tmpfs at %s: %q", path, got)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("the directory outside now holds %v, error %v", entries, err)
	}
	if data, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(data) != "host" {
		t.Errorf("the file outside holds %q, error %v", data, err)
	}
	if _, err := tryEnter(t, withMounts(specs.Mount{Destination: "/loop", Type: "tmpfs"}), rootfs); err == nil || !strings.Contains(err.Error(), "mounts[7]: tmpfs on /loop: too many levels of symbolic links") {
		t.Errorf("error %v", err)
	}
}

func TestTmpfs(t *testing.T) {
	rootfs := newRootfs(t, map[string]string{
		"data/dir/file": "original", "data/link": "->dir/file", "data/absolute": "->/etc/passwd",
	})
	if err := os.Chmod(filepath.Join(rootfs, "tmp"), os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"data", "data/dir", "data/dir/file"} {
		if err := os.Chown(filepath.Join(rootfs, path), 33, 34); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(rootfs, "data/dir/file"), os.ModeSetuid|0o750); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]uint32{"fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK} {
		if err := unix.Mknod(filepath.Join(rootfs, "data", name), mode|0o666, 0); err != nil {
			t.Fatal(err)
		}
	}
	spec := withMounts(
		specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=64k", "noexec"}},
		specs.Mount{Destination: "/data", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup"}},
		specs.Mount{Destination: "/fresh", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro,mode=707,uid=5"}},
	)
	spec.Process.User = specs.User{UID: 33, GID: 34} // without capabilities, user 0 owns nothing there
	b := enter(t, spec, rootfs)
	if st := b.must("stat", "/tmp", "").Stat; st.Mode&0o7777 != 0o1777 {
		t.Errorf("/tmp has mode %o", st.Mode)
	}
	if r := b.do("write", "/tmp/big", strings.Repeat("x", 1<<20)); r.Errno != unix.ENOSPC {
		t.Errorf("writing 1 MiB into 64 KiB: error %q", r.Error)
	}
	b.reads("/data/dir/file", "original")
	b.reads("/data/link", "original")
	if got := b.must("readlink", "/data/absolute", "").Text; got != "/etc/passwd" {
		t.Errorf("/data/absolute leads to %s", got)
	}
	if st := b.must("stat", "/data/dir/file", "").Stat; st.Mode&0o7777 != 0o4750 || st.Uid != 33 || st.Gid != 34 {
		t.Errorf("the copied file has mode %o and owner %d:%d", st.Mode, st.Uid, st.Gid)
	}
	if st := b.must("stat", "/data", "").Stat; st.Uid != 33 || st.Gid != 34 || st.Mode&0o7777 != 0o755 {
		t.Errorf("/data has mode %o and owner %d:%d", st.Mode, st.Uid, st.Gid)
	}
	if got := b.must("list", "/data", "").List; !slices.Equal(got, []string{"absolute", "dir", "fifo", "link", "socket"}) {
		t.Errorf("/data holds %v", got)
	}
	b.must("write", "/data/dir/new", "x")
	if _, err := os.Stat(filepath.Join(rootfs, "data/dir/new")); err == nil {
		t.Error("a file written to the tmpfs is in the root file system")
	}
	b.refuses("write", "/fresh/file", unix.EROFS)
	if st := b.must("stat", "/fresh", "").Stat; st.Mode&0o7777 != 0o707 || st.Uid != 5 {
		t.Errorf("/fresh has mode %o and owner %d", st.Mode, st.Uid)
	}
}

func TestProc(t *testing.T) {
	view := filepath.Join(t.TempDir(), "meminfo")
	addFiles(t, filepath.Dir(view), map[string]string{"meminfo": "mine"})
	b := enter(t, withMounts(specs.Mount{Destination: "/proc/meminfo", Type: "bind", Source: view, Options: []string{"ro"}}), newRootfs(t, nil))
	b.reads("/proc/meminfo", "mine")
	b.refuses("openrw", "/proc/self/comm", unix.EROFS)
	// The memory is there too, and the number of a thread that came later.
	b.refuses("openrw", "/proc/2/mem", unix.EROFS)

	t.Run("of the host", func(t *testing.T) {
		spec := newSpec()
		spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
		spec.Mounts[0] = specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind"}}
		b := enter(t, spec, newRootfs(t, nil))
		b.refuses("openrw", "/proc/self/comm", unix.EROFS)
		if st := b.must("stat", "/proc/self/mem", "").Stat; st.Rdev != unix.Mkdev(1, 3) {
			t.Errorf("/proc/self/mem is open: device %d", st.Rdev)
		}
	})
}

// TestCgroupV1 uses the machine's hierarchies, or where it has cgroup v2 alone,
// a hierarchy without controllers that it makes.
func TestCgroupV1(t *testing.T) {
	if unified, err := isUnified(); err != nil {
		t.Fatal(err)
	} else if unified {
		hostMount(t, "tmpfs", cgroupRoot, "")
		hostMount(t, "cgroup", filepath.Join(cgroupRoot, "jail-test"), "none,name=jail-test")
	}
	hierarchies, err := ownHierarchies(withMounts(specs.Mount{Type: "cgroup"}))
	if err != nil || len(hierarchies) == 0 {
		t.Fatalf("hierarchies %v, error %v", hierarchies, err)
	}
	spec := withMounts(specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	for name, spec := range map[string]*specs.Spec{"own namespace": spec, "the host's": withoutCgroupNamespace(spec)} {
		t.Run(name, func(t *testing.T) {
			b := enter(t, spec, newRootfs(t, nil))
			for _, h := range hierarchies {
				path := "/sys/fs/cgroup/" + h.name
				if got := b.mountAt(path); !strings.HasPrefix(got, "ro,nosuid,nodev,noexec") || !strings.Contains(got, "- cgroup") {
					t.Errorf("the mount at %s is %q", path, got)
				}
				b.must("read", path+"/cgroup.procs", "")
			}
			b.refuses("mkdir", "/sys/fs/cgroup/dir", unix.EROFS)
		})
	}
}

// TestCgroupV2 has an empty cgroup v2 where a host with version 1 has its cgroups.
func TestCgroupV2(t *testing.T) {
	if unified, err := isUnified(); err != nil {
		t.Fatal(err)
	} else if !unified {
		hostMount(t, "cgroup2", cgroupRoot, "")
	}
	spec := withMounts(specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	for name, spec := range map[string]*specs.Spec{"own namespace": spec, "the host's": withoutCgroupNamespace(spec)} {
		t.Run(name, func(t *testing.T) {
			b := enter(t, spec, newRootfs(t, nil))
			if got := b.mountAt("/sys/fs/cgroup"); !strings.HasPrefix(got, "ro,nosuid,nodev,noexec") || !strings.Contains(got, "- cgroup2") {
				t.Errorf("the mount is %q", got)
			}
			b.must("read", "/sys/fs/cgroup/cgroup.controllers", "")
		})
	}
}

func withoutCgroupNamespace(spec *specs.Spec) *specs.Spec {
	other, linux := *spec, *spec.Linux
	linux.Namespaces = slices.DeleteFunc(slices.Clone(linux.Namespaces), func(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace })
	other.Linux = &linux
	return &other
}

func TestParseHierarchies(t *testing.T) {
	const mounts = `33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 /outer /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	got, err := parseHierarchies("5:cpu,cpuacct:/a/b\n4:memory:/outer/in\n3:pids:/x\n1:name=systemd:/\n0::/a\n", mounts)
	if err != nil {
		t.Fatal(err)
	}
	want := []hierarchy{
		{"cpu,cpuacct", []string{"cpu", "cpuacct"}, "/sys/fs/cgroup/cpu,cpuacct/a/b"},
		{"memory", []string{"memory"}, "/sys/fs/cgroup/memory/in"},
		{"systemd", []string{"name=systemd"}, "/sys/fs/cgroup/systemd"},
	}
	if !slices.EqualFunc(got, want, func(a, b hierarchy) bool {
		return a.name == b.name && a.dir == b.dir && slices.Equal(a.controllers, b.controllers)
	}) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, own := range []string{"4:memory:/outside\n", "4:memory:/outer2/x\n", "5:cpu,cpuacct:/../x\n"} {
		if got, err := parseHierarchies(own, mounts); err == nil {
			t.Errorf("%q gave %v", own, got)
		}
	}
}
