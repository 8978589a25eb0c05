package jail

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/arbitrary"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/sentence"
)

// specFields begin the errors about a spec.
var specFields = []string{
	"ociVersion: ", "process: ", "process.", "root: ", "linux: ", "linux.", "mounts[", "hooks.",
	"hostname: ", "domainname: ", "solaris: ", "windows: ", "vm: ", "zos: ", "freebsd: ",
}

// FuzzValidate validates runtime specs. One that is accepted asks for nothing that
// a sandbox does not do, and is accepted again when it has gone over the wire.
func FuzzValidate(f *testing.F) {
	add := func(change func(*specs.Spec)) {
		spec := newSpec()
		change(spec)
		data, err := json.Marshal(spec)
		if err != nil {
			f.Fatal(err)
		}
		for _, changes := range []string{"", "\x04\x00", "\x08\x02\x02\x03abcdefghijklmnop", "0123456789abcdefghijkl"} {
			f.Add(data, []byte(changes))
		}
	}
	add(func(*specs.Spec) {})
	add(func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 1000, Size: 10}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
		s.Process.User = specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}}
	})
	add(func(s *specs.Spec) {
		s.Linux.Namespaces[0].Path = "/proc/self/ns/pid"
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel/shmmax": "2"}
		s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}}
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 2}}
	})
	add(func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/proc/cpuinfo", Source: "/x", Type: "bind", Options: []string{"rbind,ro", "rslave"}})
		s.Linux.RootfsPropagation = "slave"
	})
	add(func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true"}}} })
	f.Add([]byte(`{"process":{"args":["/a"],"cwd":"/"},"root":{"path":"r"},"linux":{"namespaces":[{"type":"a\nb"},{"type":"mount"}],"sysctl":{"a\nb":"1"}},"mounts":[{"destination":"/proc/\u001b[31m"}]}`), []byte{})
	f.Add([]byte(`{}`), []byte{})
	f.Fuzz(func(t *testing.T, config, changes []byte) {
		var spec specs.Spec
		if json.Unmarshal(config, &spec) != nil {
			return // the shim's readSpec refuses it
		}
		arbitrary.Change(&spec, changes, specWords...)
		spec = throughJSON(t, spec) // as every spec comes
		flags, joins, nsErr := Namespaces(&spec)
		if nsErr != nil {
			sentence.Check(t, nsErr, "linux.namespaces[")
		}
		if err := Validate(&spec); err != nil {
			sentence.Check(t, err, specFields...)
			return
		}
		if nsErr != nil {
			t.Error("accepted although", nsErr)
		}
		checkAccepted(t, &spec, flags, joins)

		received := throughJSON(t, spec)
		if err := Validate(&received); err != nil {
			t.Errorf("%v: it was accepted before it was sent", err)
		}
	})
}

// specWords are what a spec is likely to be about.
var specWords = []string{
	"/", "/proc", "/proc/", "/proc/cpuinfo", "/proc/self/mem", "/a/../proc/1", "/sys", "/dev", "/app.wasm", "relative", "..", "\n", "\x1b[2J", "a\x00b",
	"proc", "sysfs", "tmpfs", "bind", "rbind", "cgroup", "devpts", "mqueue", "none", "ro", "rro", "rslave", "shared", "unbindable", "remount", "idmap", "tmpcopyup", "mode=755", "ro,nosuid",
	"mount", "pid", "network", "ipc", "uts", "user", "cgroup", "time", "/proc/self/ns/net", "/proc/self/ns/mnt",
	"RLIMIT_NOFILE", "RLIMIT_NPROC", "c", "b", "u", "p", "NAME=value", "=", "unconfined", "2.0.0", "1.3.0",
	"net.ipv4.ip_forward", "net/ipv4/conf/a.b/forwarding", "kernel.shmmax", "kernel.hostname", "kernel.panic", "net..x", "fs.mqueue.msg_max",
}

func throughJSON(t *testing.T, spec specs.Spec) (received specs.Spec) {
	sent, err := json.Marshal(&spec)
	if err == nil {
		err = json.Unmarshal(sent, &received)
	}
	if err != nil {
		t.Fatal(err)
	}
	return received
}

// checkAccepted looks for what must not get past Validate.
func checkAccepted(t *testing.T, s *specs.Spec, flags uintptr, joins []Join) {
	if flags&unix.CLONE_NEWNS == 0 {
		t.Error("the container has no mount namespace of its own")
	}
	for _, j := range joins {
		if !path.IsAbs(j.Path) || j.Type == specs.MountNamespace || j.Flag == 0 {
			t.Errorf("it joins %+v", j)
		}
	}
	if created := flags&unix.CLONE_NEWUSER != 0; created != (len(s.Linux.UIDMappings) > 0) && created != (len(s.Linux.GIDMappings) > 0) {
		t.Error("a user namespace without ids, or ids without one")
	}
	if len(s.Process.Args) == 0 || !path.IsAbs(s.Process.Cwd) {
		t.Error("there is nothing to run, or nowhere to run it")
	}
	if h := s.Hooks; h != nil && len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer)+len(h.StartContainer)+len(h.Poststart)+len(h.Poststop) > 0 { //nolint:staticcheck // refused, not used
		t.Error("it has hooks, which nobody runs")
	}
	for _, m := range s.Mounts {
		where := path.Clean(m.Destination)
		o, err := parseOptions(m)
		switch {
		case err != nil:
			t.Errorf("%+v: %v", m, err)
		case where == "/" || !path.IsAbs(where):
			t.Errorf("a mount on %q", m.Destination)
		case strings.HasPrefix(where, "/proc/") && !slices.Contains(safeInProc, where):
			t.Errorf("a mount in procfs, %q", m.Destination)
		case o.bind && !path.IsAbs(m.Source):
			t.Errorf("a bind mount of %q", m.Source)
		case o.mapped && !(o.bind && slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })):
			t.Errorf("an id-mapped mount of %q with the namespaces %v", m.Type, s.Linux.Namespaces)
		}
	}
	for name := range s.Linux.Sysctl {
		if file := path.Join("/proc/sys", sysctlPath(name)); !strings.HasPrefix(file, "/proc/sys/") || sysctlNamespace(name) == "" {
			t.Errorf("the host's %s would be set", file)
		}
	}
	for _, d := range s.Linux.Devices {
		if deviceTypes[d.Type] == 0 || !path.IsAbs(d.Path) {
			t.Errorf("a device %+v", d)
		}
	}
}
