package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func namespaceOf(t *testing.T, pid any, name string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%v/ns/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestNewAndJoinedNamespaces(t *testing.T) {
	first := create(t, newConfig(t, exits))
	for _, name := range []string{"mnt", "pid", "ipc", "uts", "net"} {
		if namespaceOf(t, first.Pid(), name) == namespaceOf(t, "self", name) {
			t.Errorf("the process shares this process's %s namespace", name)
		}
	}
	cfg := newConfig(t, exits)
	for i, name := range map[int]string{1: "pid", 2: "ipc", 3: "uts", 4: "net"} {
		cfg.Spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/%s", first.Pid(), name)
	}
	second := create(t, cfg)
	for _, name := range []string{"pid", "ipc", "uts", "net"} {
		if namespaceOf(t, first.Pid(), name) != namespaceOf(t, second.Pid(), name) {
			t.Errorf("the second process did not join the first one's %s namespace", name)
		}
	}
	third := create(t, newConfig(t, exits))
	if namespaceOf(t, third.Pid(), "net") == namespaceOf(t, first.Pid(), "net") {
		t.Error("the fork thread stayed in a container's namespaces")
	}
}

func TestUserNamespaces(t *testing.T) {
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	cfg := newConfig(t, exits)
	giveTo(t, 100000, cfg.Rootfs)
	cfg.Spec.Linux.UIDMappings, cfg.Spec.Linux.GIDMappings = mapping, mapping
	cfg.Spec.Linux.Namespaces = append(cfg.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	first := create(t, cfg)

	joining := newConfig(t, exits)
	giveTo(t, 100000, joining.Rootfs)
	joining.Spec.Linux.Namespaces = append(joining.Spec.Linux.Namespaces,
		specs.LinuxNamespace{Type: specs.UserNamespace, Path: fmt.Sprintf("/proc/%d/ns/user", first.Pid())})
	second := create(t, joining)
	if namespaceOf(t, first.Pid(), "user") != namespaceOf(t, second.Pid(), "user") {
		t.Error("the second process did not join the first one's user namespace")
	}
	if namespaceOf(t, first.Pid(), "pid") == namespaceOf(t, second.Pid(), "pid") {
		t.Error("the second process has no pid namespace of its own")
	}
	for _, p := range []*Process{first, second} {
		var stat unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d", p.Pid()), &stat); err != nil {
			t.Fatal(err)
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
		if !strings.Contains(string(status), "Uid:\t100000\t") {
			t.Errorf("the process is not uid 100000 on the host:\n%s", status)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if code := wait(t, p); code != 7 {
			t.Errorf("exit status %d, want 7", code)
		}
	}
}

func TestMappedMounts(t *testing.T) {
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	// The user namespace's root could not go there by itself.
	closed := t.TempDir()
	source := filepath.Join(closed, "source")
	err := errors.Join(os.Chmod(closed, 0o700), os.Mkdir(source, 0o755), os.WriteFile(filepath.Join(source, "file"), nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	config := func(m specs.Mount) Config {
		cfg := newConfig(t, exits)
		giveTo(t, 100000, cfg.Rootfs)
		cfg.Spec.Linux.UIDMappings, cfg.Spec.Linux.GIDMappings = mapping, mapping
		cfg.Spec.Linux.Namespaces = append(cfg.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		m.Source, m.Destination = source, "/data"
		cfg.Spec.Mounts = append(cfg.Spec.Mounts, m, specs.Mount{Type: "bind", Source: source, Destination: "/plain"})
		return cfg
	}
	for name, m := range map[string]specs.Mount{
		"mappings": {Type: "bind", UIDMappings: mapping, GIDMappings: mapping},
		"idmap":    {Type: "bind", Options: []string{"idmap", "ro"}},
		"ridmap":   {Options: []string{"rbind", "ridmap"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := create(t, config(m))
			// The host sees ids as the mount has them: 100000 is the container's root.
			for dir, want := range map[string]uint32{"data": 100000, "plain": 0} {
				var st unix.Stat_t
				if err := unix.Stat(fmt.Sprintf("/proc/%d/root/%s/file", p.Pid(), dir), &st); err != nil {
					t.Fatal(err)
				}
				if st.Uid != want || st.Gid != want {
					t.Errorf("/%s/file belongs to %d:%d, want %d", dir, st.Uid, st.Gid, want)
				}
			}
		})
	}
	other := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 65536}}
	_, err = Create(t.Context(), config(specs.Mount{Type: "bind", UIDMappings: mapping, GIDMappings: other}))
	if err == nil || !strings.Contains(err.Error(), "on /data: gidMappings: ") {
		t.Errorf("with other mappings than the container's: %v", err)
	}
}

// giveTo makes the folder one that a user namespace's root finds its own.
func giveTo(t *testing.T, uid int, dir string) {
	t.Helper()
	if err := openToAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
}

func TestInside(t *testing.T) {
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	for _, user := range []bool{false, true} {
		t.Run(fmt.Sprintf("user namespace %v", user), func(t *testing.T) {
			cfg := newConfig(t, spins)
			cfg.Spec.Linux.Namespaces = append(cfg.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
			if user {
				giveTo(t, 100000, cfg.Rootfs)
				cfg.Spec.Linux.UIDMappings, cfg.Spec.Linux.GIDMappings = mapping, mapping
				cfg.Spec.Linux.Namespaces = append(cfg.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			}
			if err := os.WriteFile(filepath.Join(cfg.Rootfs, "tool.wasm"), []byte(exits), 0o644); err != nil {
				t.Fatal(err)
			}
			first := create(t, cfg)
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			tool := cfg
			tool.Inside = first
			tool.Rootfs = "/not looked at"
			tool.Module = Module{Paths: []string{"/tool.wasm"}, Args: []string{"/tool.wasm"}}
			second := create(t, tool)
			for _, k := range kinds {
				if namespaceOf(t, first.Pid(), k.name) != namespaceOf(t, second.Pid(), k.name) {
					t.Errorf("the second process is not in the first one's %s namespace", k.name)
				}
			}
			var roots [2]unix.Stat_t
			for i, p := range []*Process{first, second} {
				if err := unix.Stat(fmt.Sprintf("/proc/%d/root", p.Pid()), &roots[i]); err != nil {
					t.Fatal(err)
				}
			}
			if roots[0].Dev != roots[1].Dev || roots[0].Ino != roots[1].Ino {
				t.Error("the second process has another root directory")
			}
			for _, p := range []*Process{first, second} {
				exe := fmt.Sprintf("/proc/%d/exe", p.Pid())
				if err := unix.UtimesNanoAt(unix.AT_FDCWD, exe, nil, 0); err != unix.EROFS {
					t.Errorf("changing the program through %s: %v, want EROFS", exe, err)
				}
				if target, err := os.Readlink(exe); err != nil || filepath.Base(target) != programName {
					t.Errorf("%s leads to %q, %v", exe, target, err)
				}
			}
			if err := second.Start(); err != nil {
				t.Fatal(err)
			}
			if code := wait(t, second); code != 7 {
				t.Errorf("exit status %d, want 7", code)
			}
			if err := first.Signal(unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			wait(t, first)
			if _, err := Create(context.Background(), tool); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("inside an ended process: %v, want os.ErrProcessDone", err)
			}
		})
	}
}
