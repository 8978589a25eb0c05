package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// box is a container that runs in this test.
type box struct {
	t         *testing.T
	pid       int
	in        *json.Encoder
	out       *json.Decoder
	endParent func() // ends the thread that started the container
	wait      func() error
}

// enter starts a container and fails the test where that fails. Streams are its
// standard input and output, the null device where they are left out.
func enter(t *testing.T, spec *specs.Spec, rootfs string, streams ...*os.File) *box {
	t.Helper()
	b, err := tryEnter(t, spec, rootfs, streams...)
	if err != nil {
		t.Fatalf("entering the container: %v", err)
	}
	return b
}

// tryEnter also holds the container to leaving the host's mounts as they were.
func tryEnter(t *testing.T, spec *specs.Spec, rootfs string, streams ...*os.File) (*box, error) {
	t.Helper()
	if err := Validate(spec); err != nil {
		return nil, err
	}
	flags, joins, err := Namespaces(spec)
	if err != nil {
		return nil, err
	}
	before := hostMounts(t)
	requests, in := pipe(t)
	out, replies := pipe(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{roleVariable + "=container", "GOMAXPROCS=2"}
	cmd.Stderr = os.Stderr
	if len(streams) == 2 {
		cmd.Stdin, cmd.Stdout = streams[0], streams[1]
	}
	cmd.ExtraFiles = []*os.File{requests, replies}
	// Not Pdeathsig: Go takes a parent that the child's pid namespace does not
	// know for a dead one.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = idMap(spec.Linux.UIDMappings)
		cmd.SysProcAttr.GidMappings = idMap(spec.Linux.GIDMappings)
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
		cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	started, stop := make(chan error), make(chan struct{})
	go func() {
		// The thread ends with the goroutine, and its namespaces with it.
		runtime.LockOSThread()
		err := join(joins)
		if err == nil {
			err = LimitThread()
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		<-stop
	}()
	endParent := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(endParent)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	requests.Close()
	replies.Close()
	wait := sync.OnceValue(cmd.Wait)
	t.Cleanup(func() {
		in.Close()
		if err := wait(); err != nil && !strings.Contains(err.Error(), "killed") {
			t.Errorf("container: %v", err)
		}
		if after := hostMounts(t); after != before {
			t.Errorf("the host's mounts were\n%s\nand are now\n%s", before, after)
		}
	})
	b := &box{t: t, pid: cmd.Process.Pid, in: json.NewEncoder(in), out: json.NewDecoder(out), endParent: endParent, wait: wait}
	if err := b.in.Encode(setup{spec, rootfs}); err != nil {
		t.Fatal(err)
	}
	var r reply
	if err := b.out.Decode(&r); err != nil {
		t.Fatalf("the container ended without a word: %v", err)
	}
	if after := hostMounts(t); after != before {
		t.Errorf("the host's mounts were\n%s\nand with the container are\n%s", before, after)
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return b, nil
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func join(joins []Join) error {
	for _, j := range joins {
		f, err := os.Open(j.Path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), j.Flag); err != nil {
			return fmt.Errorf("setns %s: %w", j.Path, err)
		}
	}
	return nil
}

func idMap(mappings []specs.LinuxIDMapping) (m []syscall.SysProcIDMap) {
	for _, i := range mappings {
		m = append(m, syscall.SysProcIDMap{ContainerID: int(i.ContainerID), HostID: int(i.HostID), Size: int(i.Size)})
	}
	return m
}

func hostMounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// do performs an operation in the container.
func (b *box) do(op, path, data string) reply {
	b.t.Helper()
	if err := b.in.Encode(request{op, path, data}); err != nil {
		b.t.Fatal(err)
	}
	var r reply
	if err := b.out.Decode(&r); err != nil {
		b.t.Fatalf("%s %s: the container ended: %v", op, path, err)
	}
	return r
}

// must is do for an operation that is to succeed.
func (b *box) must(op, path, data string) reply {
	b.t.Helper()
	r := b.do(op, path, data)
	if r.Error != "" {
		b.t.Errorf("%s %s: %s", op, path, r.Error)
	}
	return r
}

// refuses is do for an operation that is to fail with one of the errors.
func (b *box) refuses(op, path string, want ...syscall.Errno) {
	b.t.Helper()
	r := b.do(op, path, "x")
	for _, errno := range want {
		if r.Errno == errno {
			return
		}
	}
	b.t.Errorf("%s %s: error %q, want one of %v", op, path, r.Error, want)
}

func (b *box) reads(path, want string) {
	b.t.Helper()
	if got := strings.TrimSpace(b.must("read", path, "").Text); got != want {
		b.t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

// mountAt returns the flags, the file system and its options of the topmost
// mount at path, as a line of mountinfo has them, and "" where there is none.
func (b *box) mountAt(path string) string {
	b.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", b.pid))
	if err != nil {
		b.t.Fatal(err)
	}
	found := ""
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); f[4] == path {
			found = strings.Join(f[5:], " ")
		}
	}
	return found
}

// newRootfs makes a small root file system; files map paths to contents, or to
// the target of a link where they start with "->".
func newRootfs(t *testing.T, files map[string]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "rootfs")
	for _, dir := range []string{"proc", "sys", "dev", "etc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	addFiles(t, root, files)
	return root
}

func addFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			if target, isLink := strings.CutPrefix(content, "->"); isLink {
				err = os.Symlink(target, path)
			} else {
				err = os.WriteFile(path, []byte(content), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// newSpec is what containerd makes for an ordinary container.
func newSpec() *specs.Spec {
	return &specs.Spec{
		Version:  "1.3.0",
		Hostname: "box",
		Process:  &specs.Process{Args: []string{"/app.wasm"}, Cwd: "/"},
		Root:     &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.MountNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.CgroupNamespace},
			},
			MaskedPaths:   []string{"/proc/cmdline", "/proc/keys", "/proc/scsi", "/proc/acpi", "/sys/firmware", "/nowhere"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}
