package rootless

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// runSpec runs hello-c with ctr's usual runtime spec as change makes it.
func runSpec(t *testing.T, change func(*specs.Spec)) (output string, err error) {
	t.Helper()
	var spec specs.Spec
	if err := json.Unmarshal([]byte(mustCtr(t, "oci", "spec")), &spec); err != nil {
		t.Fatal(err)
	}
	rootfs := t.TempDir()
	module, err := os.ReadFile(filepath.Join(os.Getenv("E2E_GUESTS"), "hello-c.wasm"))
	if err == nil {
		err = os.WriteFile(filepath.Join(rootfs, "hello.wasm"), module, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	spec.Process.Args = []string{"/hello.wasm"}
	spec.Root.Path = rootfs
	spec.Linux.CgroupsPath = "/rootless/" + id(t)
	change(&spec)
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return ctr(t, "run", "--rm", "--runtime", runtime, "--config", file, id(t))
}

// without has a container share a namespace with containerd.
func without(kind specs.LinuxNamespaceType) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
	}
}

// TestTolerated asks for what the user cannot have and a container can do without.
func TestTolerated(t *testing.T) {
	score := -500
	out, err := runSpec(t, func(s *specs.Spec) { s.Process.OOMScoreAdj = &score })
	if err != nil || !strings.HasSuffix(out, "hello from c\n") {
		t.Errorf("%v: %q", err, out)
	}
	if !logged(t, "container="+id(t), "process.oomScoreAdj stays") {
		t.Error("the log does not say that the score is another")
	}
}

// TestRefused asks for what takes rights outside of the user's namespace.
func TestRefused(t *testing.T) {
	join := func(kind specs.LinuxNamespaceType, path string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			i := slices.IndexFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
			s.Linux.Namespaces[i].Path = path
		}
	}
	for _, test := range []struct {
		name   string
		change func(*specs.Spec)
		want   []string
	}{
		{"another's namespace", join(specs.UTSNamespace, "/proc/1/ns/uts"), []string{"linux.namespaces[uts]", "/proc/1/ns/uts", "user namespace"}},
		{"the host's ipc and a mount of it", without(specs.IPCNamespace), []string{"mounts[", "mqueue on /dev/mqueue", "user namespace", "bind the host's"}},
		{"users that are not the user's", func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}, {ContainerID: 10, HostID: subIDs, Size: 10}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
		}, []string{"linux.uidMappings", "user namespace"}},
		{"more open files than the user may have", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 1 << 30}}
		}, []string{"process.rlimits[0]", "RLIMIT_NOFILE", "raise the limit of containerd"}},
		{"a device that the host does not have", func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/none", Type: "c", Major: 1, Minor: 3}}
		}, []string{"linux.devices[0]", "/dev/none", "user namespace"}},
		{"a cgroup of systemd's", func(s *specs.Spec) { s.Linux.CgroupsPath = "user.slice:wasm:name" }, []string{"linux.cgroupsPath", "systemd", "user namespace"}},
	} {
		out, err := runSpec(t, test.change)
		if err == nil {
			t.Errorf("%s: not refused: %s", test.name, out)
		}
		wants(t, out, test.want...)
	}
}

// TestSingle is about the user without a range of ids.
func TestSingle(t *testing.T) {
	out, err := runSpec(t, func(*specs.Spec) {})
	if err == nil {
		t.Error("devpts was given to a group that is not there")
	}
	wants(t, out, "devpts on /dev/pts", "gid=5", "/etc/subgid")

	out, err = runSpec(t, func(s *specs.Spec) {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "devpts" })
	})
	if err == nil {
		t.Error("the guest has the groups of the user")
	}
	wants(t, out, "process.user.additionalGids", "/proc/self/setgroups", "newgidmap")
}
