package e2e

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// hostileImage makes an image of one guest and of what else is in it, and
// returns what a plan calls it. It is removed at the test's end.
func hostileImage(t *testing.T, name, guest string, nodes ...tar.Header) string {
	t.Helper()
	file := "/" + guest + ".wasm"
	err := importImage(filepath.Join(t.TempDir(), "image.tar"), engine.Namespace, image.Image{
		Name:   imageName(name),
		Files:  map[string]string{file: filepath.Join(os.Getenv("E2E_GUESTS"), guest+".wasm")},
		Nodes:  nodes,
		Config: v1.ImageConfig{Entrypoint: []string{file}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.ImageService().Delete(namespaced(context.Background()), imageName(name)) })
	return name
}

func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func device(name string, kind byte, major, minor int64) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Mode: 0o666, Devmajor: major, Devminor: minor}
}

// TestHostileImages runs images that are made to reach the host by the hands of
// who sets their containers up. Either the error names the module or the mount,
// or the container runs and has reached nothing.
func TestHostileImages(t *testing.T) {
	leavesNothing(t)
	v := newVault(t)
	up := strings.Repeat("../", 24)
	vol := filepath.Join(v.dir, "vol")
	huge, err := os.Create(filepath.Join(vol, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 2 << 40
	if err := errors.Join(huge.Truncate(size), huge.Close()); err != nil {
		t.Fatal(err)
	}

	nodes := []tar.Header{
		link("stdin.wasm", "/proc/self/fd/0"), link("exe.wasm", "/proc/self/exe"), link("root.wasm", "/proc/self/root/hello-c.wasm"),
		link("host.wasm", up+v.treasure[1:]), link("absolute.wasm", v.treasure), link("loop.wasm", "loop.wasm"),
		link("huge.wasm", "/vol/huge"), link("dir.wasm", "/vol/dir"), link("good.wasm", "vol/../hello-c.wasm"),
		{Typeflag: tar.TypeFifo, Name: "fifo.wasm", Mode: 0o644}, device("null.wasm", tar.TypeChar, 1, 3),
		// Where mounts and files of every container are due.
		link("etc", up+v.dir[1:]), link("data", v.dir),
	}
	modules := hostileImage(t, "hostile-modules", "hello-c", nodes...)
	hosts := filepath.Join(v.dir, "ro/file")
	links := map[string]string{}
	for _, name := range []string{"dev", "proc", "sys"} {
		links[name] = hostileImage(t, "hostile-"+name, "hello-c", link(name, up+v.dir[1:]))
	}
	devInVolume := hostileImage(t, "hostile-dev-vol", "hello-c", link("dev", "/vol"))

	for _, c := range []struct {
		image, module string
		want          []string // in the error; the container runs if there is none
	}{
		{modules, "/stdin.wasm", []string{"module /stdin.wasm: leads", "procfs"}},
		{modules, "/exe.wasm", []string{"module /exe.wasm: leads", "procfs"}},
		{modules, "/root.wasm", []string{"module /root.wasm: leads", "procfs"}},
		{modules, "/loop.wasm", []string{"module /loop.wasm: leads", "too many symbolic links"}},
		{modules, "/host.wasm", []string{"module /host.wasm: no such file or directory in the container"}},
		{modules, "/absolute.wasm", []string{"module /absolute.wasm: no such file or directory in the container"}},
		{modules, "/huge.wasm", []string{"module /huge.wasm", fmt.Sprint(size), "more than"}},
		{modules, "/dir.wasm", []string{"module /dir.wasm", "is a directory"}},
		{modules, "/fifo.wasm", []string{"module /fifo.wasm", "is not a regular file but a FIFO"}},
		{modules, "/null.wasm", []string{"module /null.wasm"}},
		{modules, "/good.wasm", nil},
		{links["dev"], "/hello-c.wasm", nil}, // inside, the link is filled where it leads
		{links["proc"], "/hello-c.wasm", []string{"proc on /proc: the image has a symbolic link there"}},
		{links["sys"], "/hello-c.wasm", []string{"sysfs on /sys: the image has a symbolic link there"}},
		{devInVolume, "/hello-c.wasm", []string{"/dev/", "the image has a symbolic link", "/vol"}},
	} {
		t.Run(c.image+c.module, func(t *testing.T) {
			b, err := plan{guest: c.image, spec: []oci.SpecOpts{
				oci.WithProcessArgs(c.module), inOnePod, v.mounts(), bind(vol, "/data/sub"), bind(hosts, "/etc/hosts"),
			}}.tryCreate(t)
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if err := b.task.Start(namespaced(t.Context())); err != nil {
					t.Fatal(err)
				}
				b.waitCode(t, 0)
				return
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the treasure is in the error: %v", err)
			}
		})
	}
	entries, err := os.ReadDir(vol)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"dir", "file", "host-link", "host-dir", "huge"}, e.Name()) {
			t.Errorf("%s has been made in the volume", e.Name())
		}
	}
}

// TestWorkingDirectoryOfTheHost has images whose working directory is what a
// process that sets up a container may still have open.
func TestWorkingDirectoryOfTheHost(t *testing.T) {
	leavesNothing(t)
	first := withTools(t, inOnePod)
	for fd := 3; fd < 10; fd++ {
		cwd := fmt.Sprintf("/proc/self/fd/%d", fd)
		_, err := plan{guest: "hello-c", spec: []oci.SpecOpts{inOnePod, oci.WithProcessCwd(cwd)}}.tryCreate(t)
		if err == nil || !strings.Contains(err.Error(), "process.cwd: "+cwd) {
			t.Errorf("%v, want an error that names process.cwd", err)
		}
		r := first.ctrExec(t, "", []string{"--cwd", cwd}, "/tools/cwd.wasm")
		if r.code == 0 || !strings.Contains(r.stderr, "process.cwd: "+cwd) {
			t.Errorf("exec in %s: %s", cwd, r)
		}
	}
}

// TestDevicesOfAnImage has an image with nodes of the machine's devices, open to
// all, and with a module that has the set-user-ID bit.
func TestDevicesOfAnImage(t *testing.T) {
	leavesNothing(t)
	img := hostileImage(t, "devices", "escape",
		blockDevice(t), device("mem", tar.TypeChar, 1, 1), device("kmsg", tar.TypeChar, 1, 11))
	b := plan{guest: img, args: []string{"open", "/disk", "/mem", "/kmsg"}}.start(t)
	b.waitCode(t, 0)
	wantOutcomes(t, b, "/disk: PERM PERM | ACCES ACCES\n/mem: PERM PERM | ACCES ACCES\n/kmsg: PERM PERM | ACCES ACCES\n")
}

// blockDevice is a node of a disk of the machine.
func blockDevice(t *testing.T) tar.Header {
	t.Helper()
	for line := range strings.Lines(read(t, "/proc/partitions")) {
		var major, minor, blocks int64
		if n, _ := fmt.Sscan(line, &major, &minor, &blocks); n == 3 {
			return device("disk", tar.TypeBlock, major, minor)
		}
	}
	return device("disk", tar.TypeBlock, 7, 0) // a machine without a disk has loop devices at least
}

// TestSetUserID runs a module that belongs to root and has the set-user-ID bit.
func TestSetUserID(t *testing.T) {
	leavesNothing(t)
	dir := t.TempDir()
	module := filepath.Join(dir, "sleep.wasm")
	write(t, module, read(t, filepath.Join(os.Getenv("E2E_GUESTS"), "sleep.wasm")))
	if err := unix.Chmod(module, unix.S_ISUID|unix.S_ISGID|0o755); err != nil {
		t.Fatal(err)
	}
	b := plan{guest: "sleep", spec: []oci.SpecOpts{
		oci.WithProcessArgs("/vol/sleep.wasm", "600000"), oci.WithUserID(1000), bind(dir, "/vol"),
		oci.WithCapabilities([]string{"CAP_SETUID", "CAP_DAC_OVERRIDE"}),
	}}.start(t)
	b.stdout.waitFor(t, "sleeping")
	for field, want := range map[string]string{"Uid": "1000\t1000\t1000\t1000", "NoNewPrivs": "1", "CapEff": strings.Repeat("0", 16)} {
		if got := procStatus(t, b.task.Pid(), field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
}

// TestNoDeviceIsAnImages has an image with a node of a device that containers may
// use. Theirs is in /dev; the image's is none.
func TestNoDeviceIsAnImages(t *testing.T) {
	leavesNothing(t)
	img := hostileImage(t, "null-device", "escape", device("null", tar.TypeChar, 1, 3))
	b := plan{guest: img, args: []string{"open", "/null", "/dev/null"}}.create(t)
	for line := range strings.Lines(read(t, procFile(b.task.Pid(), "mountinfo"))) {
		if fields := strings.Fields(line); fields[4] == "/" {
			if flags := strings.Split(fields[5], ","); !slices.Contains(flags, "nodev") || !slices.Contains(flags, "nosuid") {
				t.Errorf("the root file system is mounted %s", flags)
			}
		}
	}
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 0)
	wantOutcomes(t, b, "/null: ACCES ACCES\n/dev/null: ok ok\n")
}
