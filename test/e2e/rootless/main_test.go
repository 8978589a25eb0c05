// Package rootless runs Wasm containers under a containerd of an ordinary user:
// in a user namespace, where user 0 is somebody without any right outside, as
// RootlessKit makes it. It does so twice, without and with cgroup v2 delegated to
// that user. The tests themselves are in that namespace; root only makes it.
//
// The environment is that of package e2e.
package rootless

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

// The ids of the ordinary user, and of the range that /etc/subuid would give it.
const (
	userID   = 100000
	subIDs   = 200000
	subCount = 65535
)

// The variable that says which side of the namespace this process is on, and how
// the user's side is.
const (
	sideVar     = "ROOTLESS_SIDE"
	undelegated = "without cgroup"
	delegated   = "with a delegated cgroup"
	single      = "with one id" // and so without the right to give up groups
)

// What the tests use; TestMain sets it and nothing changes it later.
var (
	engine     *daemon.Daemon
	hasCgroup  bool
	emulated   = os.Getenv("E2E_SCALE") == "vm"
	controller map[string]bool // those that were delegated
)

func TestMain(m *testing.M) {
	side := os.Getenv(sideVar)
	if side == "" {
		dir := isolate.Enter("rootless")
		os.Exit(asUser(dir))
	}
	hasCgroup = side == delegated
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rootless:", err)
		code = 1
	}
	os.Exit(code)
}

// asUser runs the tests on the user's side, once for each kind of host.
func asUser(dir string) (code int) {
	if err := share(dir); err != nil {
		fmt.Fprintln(os.Stderr, "rootless:", err)
		return 1
	}
	for i, side := range []string{undelegated, delegated, single} {
		fmt.Printf("== %s\n", side)
		home := filepath.Join(dir, fmt.Sprint(i))
		err := os.Mkdir(home, 0o711) // a container's users have to pass
		if err == nil {
			err = os.Chown(home, userID, userID)
		}
		if err == nil {
			err = cross(side, home, filepath.Base(dir))
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "rootless: %s: %v\n", side, err)
			code = 1
		}
	}
	return code
}

// share shows the user the programs and guests, which may be in a folder that is
// root's alone.
func share(dir string) error {
	var path []string
	for i, source := range filepath.SplitList(os.Getenv("E2E_BIN")) {
		path = append(path, filepath.Join(dir, fmt.Sprint("bin", i)))
		if err := bind(source, path[i]); err != nil {
			return err
		}
	}
	guests := filepath.Join(dir, "guests")
	return errors.Join(
		bind(os.Getenv("E2E_GUESTS"), guests),
		os.Setenv("E2E_BIN", strings.Join(path, ":")),
		os.Setenv("E2E_GUESTS", guests))
}

func bind(source, target string) error {
	source, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	if err := os.Mkdir(target, 0o755); err != nil {
		return err
	}
	return os.NewSyscallError("bind "+source, unix.Mount(source, target, "", unix.MS_BIND, ""))
}

// cross runs this program on the user's side.
func cross(side, home, group string) error {
	only := map[string]string{
		undelegated: "-test.skip=^Test(Single|Manual)$", // the manual assumes a cgroup
		delegated:   "-test.skip=^TestSingle$",
		single:      "-test.run=^TestSingle$",
	}[side]
	cmd := exec.Command("/proc/self/exe", append(slices.Clone(os.Args[1:]), only)...)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), sideVar+"="+side, "TMPDIR="+home)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: userID, Size: 1}, {ContainerID: 1, HostID: subIDs, Size: subCount}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{},
	}
	if side == single {
		if err := syscall.Setgroups([]int{userID + 1}); err != nil { // one to keep from the guest
			return err
		}
		sys := cmd.SysProcAttr
		sys.UidMappings, sys.GidMappings, sys.GidMappingsEnableSetgroups = ids[:1], ids[:1], false
		sys.Credential.NoSetGroups = true
	}
	if side == delegated {
		dir, remove, err := delegate(filepath.Join(filepath.Dir(home), "cgroup"), group)
		if err != nil {
			return err
		}
		defer remove()
		defer dir.Close()
		// A namespace of its own for the network, too, as most have it.
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
		// Made when the process is in the group, which so becomes its root.
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWCGROUP
	}
	return cmd.Run()
}

// delegate makes a cgroup v2 and gives it to the user, as systemd does for a unit
// with Delegate=yes: cgroups(7), "Cgroups v2 delegation: delegation to a less
// privileged user". The mount at hierarchy is for this process alone.
func delegate(hierarchy, name string) (dir *os.File, remove func(), err error) {
	if err := os.Mkdir(hierarchy, 0o755); err != nil {
		return nil, nil, err
	}
	if err := unix.Mount("none", hierarchy, "cgroup2", 0, ""); err != nil {
		return nil, nil, os.NewSyscallError("mount cgroup2", err)
	}
	controllers, err := os.ReadFile(filepath.Join(hierarchy, "cgroup.controllers"))
	if err != nil {
		return nil, nil, err
	}
	for _, c := range strings.Fields(string(controllers)) {
		// One that cannot be had is one that is not delegated.
		_ = os.WriteFile(filepath.Join(hierarchy, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
	group := filepath.Join(hierarchy, name)
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil, nil, err
	}
	remove = func() {
		if err := removeGroups(group); err != nil {
			fmt.Fprintln(os.Stderr, "rootless: cgroups are left:", err)
		}
	}
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		if err := os.Chown(filepath.Join(group, file), userID, userID); err != nil {
			remove()
			return nil, nil, err
		}
	}
	if dir, err = os.Open(group); err != nil {
		remove()
	}
	return dir, remove, err
}

// removeGroups removes a cgroup and those below it. Their processes have ended, but
// the kernel may need a moment to see it.
func removeGroups(top string) (err error) {
	for range 100 {
		var groups []string
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		err = nil
		for _, g := range slices.Backward(groups) {
			err = errors.Join(err, os.Remove(g))
		}
		if err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// runTests is the user's side: what RootlessKit does before it starts containerd,
// a containerd, and the tests.
func runTests(m *testing.M) (code int, err error) {
	if err := settle(); err != nil {
		return 1, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), scaled(30*time.Second))
	defer cancel()
	engine, err = daemon.Start(ctx, dir, os.Getenv("E2E_BIN"), "rootless")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	if err := importImages(ctx, "hello-c", "spin"); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func settle() error {
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return os.NewSyscallError("mount tmpfs on /run", err)
	}
	if !hasCgroup {
		return nil
	}
	if err := unix.Mount("tmpfs", "/var/lib", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return os.NewSyscallError("mount tmpfs on /var/lib", err)
	}
	// The host's own cgroup2 cannot be mounted over, but is below its sysfs.
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, ""); err != nil {
		return os.NewSyscallError("mount sysfs", err)
	}
	const root = "/sys/fs/cgroup"
	if err := unix.Mount("none", root, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return os.NewSyscallError("mount cgroup2", err)
	}
	// A group with processes of its own cannot hand controllers on.
	if err := os.Mkdir(root+"/engine", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(root+"/engine/cgroup.procs", []byte("0"), 0); err != nil {
		return err
	}
	list, err := os.ReadFile(root + "/cgroup.controllers")
	controller = map[string]bool{}
	for _, c := range strings.Fields(string(list)) {
		controller[c] = true
	}
	return err
}

// importImages makes an image of each guest. Every one has hello-c beside it.
func importImages(ctx context.Context, guests ...string) error {
	file := func(guest string) string { return filepath.Join(os.Getenv("E2E_GUESTS"), guest+".wasm") }
	var images []image.Image
	for _, guest := range guests {
		images = append(images, image.Image{
			Name:   imageName(guest),
			Files:  map[string]string{"/" + guest + ".wasm": file(guest), "/hello-c.wasm": file("hello-c")},
			Config: v1.ImageConfig{Entrypoint: []string{"/" + guest + ".wasm"}},
		})
	}
	f, err := os.Create("images.tar")
	if err != nil {
		return err
	}
	if err := errors.Join(image.Write(f, images...), f.Close()); err != nil {
		return err
	}
	if out, err := engine.Ctr(ctx, "image", "import", "images.tar").CombinedOutput(); err != nil {
		return fmt.Errorf("ctr image import: %w\n%s", err, out)
	}
	return os.Remove("images.tar")
}

func imageName(guest string) string { return "rootless.local/" + guest + ":latest" }

// scaled stretches a time limit for an emulated processor.
func scaled(d time.Duration) time.Duration {
	if emulated {
		return 15 * d
	}
	return d
}
