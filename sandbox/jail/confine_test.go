package jail

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// addNode makes a device node that anybody may use: the zero device, which
// every container has at another place.
func addNode(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestDevicesOfOthers has device nodes in an image and in volumes.
func TestDevicesOfOthers(t *testing.T) {
	rootfs, volume := newRootfs(t, nil), t.TempDir()
	addNode(t, filepath.Join(rootfs, "zero"))
	addNode(t, filepath.Join(rootfs, "tmp/zero"))
	addNode(t, filepath.Join(rootfs, "dev/zero2"))
	addNode(t, filepath.Join(volume, "zero"))
	spec := withMounts(
		specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup"}},
		specs.Mount{Destination: "/data", Type: "bind", Source: volume},
		specs.Mount{Destination: "/granted", Type: "bind", Source: volume, Options: []string{"dev"}},
		specs.Mount{Destination: "/one", Type: "bind", Source: "/dev/zero"},
	)
	spec.Linux.Devices = []specs.LinuxDevice{{Path: "/other/place", Type: "c", Major: 1, Minor: 5}}
	b := enter(t, spec, rootfs)
	for _, path := range []string{"/zero", "/tmp/zero", "/data/zero"} {
		b.refuses("openrw", path, unix.EACCES)
	}
	for _, path := range []string{"/granted/zero", "/one", "/other/place", "/dev/zero"} {
		b.must("openrw", path, "")
	}
	b.refuses("stat", "/dev/zero2", unix.ENOENT)
	b.refuses("stat", "/dev/.elsewhere", unix.ENOENT)
}

// TestDevicesWithoutAMount has a spec that mounts nothing on /dev.
func TestDevicesWithoutAMount(t *testing.T) {
	rootfs := newRootfs(t, nil)
	spec := newSpec()
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev" })
	b := enter(t, spec, rootfs)
	for _, d := range defaultDevices {
		if d.Path != "/dev/tty" {
			b.must("openrw", d.Path, "")
		}
	}
	b.must("write", "/dev/shm/file", "x")
	if left, err := os.ReadDir(filepath.Join(rootfs, "dev")); err != nil || len(left) > 0 {
		t.Errorf("the image's /dev now holds %v, error %v", left, err)
	}
}

// TestNoOtherDevices looks for every device node that a container can open.
func TestNoOtherDevices(t *testing.T) {
	b := enter(t, newSpec(), newRootfs(t, nil))
	var found []string
	err := filepath.WalkDir(fmt.Sprintf("/proc/%d/root/dev", b.pid), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type()&os.ModeDevice != 0 {
			found = append(found, d.Name())
		}
		return err
	})
	if want := []string{"full", "null", "ptmx", "random", "tty", "urandom", "zero"}; err != nil || !slices.Equal(found, want) {
		t.Errorf("devices %v, error %v, want %v", found, err, want)
	}
}

// TestNothingIsExecutable has a program in the image and in a volume.
func TestNothingIsExecutable(t *testing.T) {
	rootfs, volume := newRootfs(t, nil), t.TempDir()
	for _, dir := range []string{rootfs, volume} {
		addFiles(t, dir, map[string]string{"program": "code"})
		if err := os.Chmod(filepath.Join(dir, "program"), os.ModeSetuid|0o755); err != nil {
			t.Fatal(err)
		}
	}
	b := enter(t, withMounts(
		specs.Mount{Destination: "/data", Type: "bind", Source: volume, Options: []string{"exec", "suid"}},
		specs.Mount{Destination: "/scratch", Type: "tmpfs", Source: "tmpfs", Options: []string{"exec", "mode=777"}},
	), rootfs)
	b.must("write", "/scratch/program", "code")
	for _, path := range []string{"/program", "/data/program", "/scratch/program"} {
		b.must("open", path, "")
		b.refuses("execute", path, unix.EACCES)
		b.refuses("map", path, unix.EPERM)
	}
}

func landlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// TestConfined asks for what nothing but Landlock forbids: the container here
// has no system-call filter and shares the host's processes and network.
func TestConfined(t *testing.T) {
	abi := landlockABI()
	if abi < 2 {
		t.Skipf("this kernel's Landlock has ABI %d, with which containers go without", abi)
	}
	name := fmt.Sprintf("@jail-test-%d", os.Getpid())
	listener, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	spec := newSpec()
	spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.NetworkNamespace || n.Type == specs.PIDNamespace
	})
	streams := t.TempDir()
	addFiles(t, streams, map[string]string{"in": "input", "out": ""})
	in, err := os.Open(filepath.Join(streams, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(streams, "out"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	b := enter(t, spec, newRootfs(t, map[string]string{"file": "x", "dir/file": "y"}), in, out)

	b.refuses("fifo", "/tmp/fifo", unix.EACCES)
	b.refuses("socket file", "/tmp/socket", unix.EACCES)
	// The program is the host's, and nobody's root directory has it.
	b.refuses("open", "/proc/self/exe", unix.EACCES)
	for _, answer := range b.must("threads", "/proc/self/exe", "").List {
		if answer != unix.EACCES.Error() {
			t.Errorf("a thread's answer is %q", answer)
		}
	}
	// Files of the host's that are open for one thing are not for another.
	b.reads("/dev/stdin", "input")
	b.refuses("openrw", "/dev/stdin", unix.EACCES)
	b.must("write", "/dev/stdout", "output")
	b.refuses("open", "/dev/stdout", unix.EACCES)

	if abi >= 4 {
		b.refuses("listen", "", unix.EACCES)
		b.refuses("connect", "", unix.EACCES)
	}
	if abi >= 5 {
		b.refuses("ioctl", "/dev/zero", unix.EACCES)
	}
	if abi >= 6 {
		b.refuses("connect abstract", name, unix.EPERM)
		b.refuses("signal", fmt.Sprint(os.Getpid()), unix.EPERM)
		b.must("signal", fmt.Sprint(b.pid), "")
	}

	// What a guest does stays as it was.
	b.must("rename", "/dir/file", "/tmp/moved")
	b.must("link", "/tmp/moved", "/dir/linked")
	b.reads("/dir/linked", "y")
	b.must("mkdir", "/tmp/made", "")
	b.must("write", "/tmp/made/file", "x")
	b.must("list", "/", "")
	b.must("openrw", "/dev/null", "")
}

func TestRightsOfABIs(t *testing.T) {
	for abi, want := range map[int]unix.LandlockRulesetAttr{
		2:  {Handled_access_fs: 1<<14 - 1},
		3:  {Handled_access_fs: 1<<15 - 1},
		4:  {Handled_access_fs: 1<<15 - 1, Handled_access_net: 1<<2 - 1},
		5:  {Handled_access_fs: 1<<16 - 1, Handled_access_net: 1<<2 - 1},
		6:  {Handled_access_fs: 1<<16 - 1, Handled_access_net: 1<<2 - 1, Scoped: 1<<2 - 1},
		8:  {Handled_access_fs: 1<<16 - 1, Handled_access_net: 1<<2 - 1, Scoped: 1<<2 - 1},
		9:  {Handled_access_fs: 1<<17 - 1, Handled_access_net: 1<<2 - 1, Scoped: 1<<2 - 1},
		10: {Handled_access_fs: 1<<17 - 1, Handled_access_net: 1<<4 - 1, Scoped: 1<<2 - 1},
		99: {Handled_access_fs: 1<<17 - 1, Handled_access_net: 1<<4 - 1, Scoped: 1<<2 - 1},
	} {
		if got := rightsOf(abi); got != want {
			t.Errorf("ABI %d: %+v, want %+v", abi, got, want)
		}
	}
}
