package jail

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestValidateAccepts(t *testing.T) {
	umask := uint32(0o22)
	for name, change := range map[string]func(*specs.Spec){
		"an ordinary spec": func(s *specs.Spec) {},
		"no namespace but mount": func(s *specs.Spec) {
			s.Hostname, s.Linux.Namespaces = "", []specs.LinuxNamespace{{Type: specs.MountNamespace}}
		},
		"fields without meaning": func(s *specs.Spec) {
			s.Process.Capabilities = &specs.LinuxCapabilities{Effective: []string{"CAP_SYS_ADMIN"}}
			s.Process.NoNewPrivileges, s.Process.ApparmorProfile = false, "unconfined"
			s.Annotations = map[string]string{"a": "b"}
			s.Hooks = &specs.Hooks{}
			s.Process.User.Umask = &umask
		},
		"a time namespace as Docker asks for it": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		},
		"all mount flags": func(s *specs.Spec) {
			m := specs.Mount{Destination: "/x", Type: "bind", Source: "/y"}
			for name := range mountFlags {
				m.Options = append(m.Options, name, "r"+name)
			}
			s.Mounts = append(s.Mounts, m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := newSpec()
			change(spec)
			if err := Validate(spec); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	mount := func(m specs.Mount) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Mounts = []specs.Mount{m} }
	}
	options := func(kind string, options ...string) func(*specs.Spec) {
		return mount(specs.Mount{Destination: "/x", Type: kind, Source: "/y", Options: options})
	}
	namespaces := func(n ...specs.LinuxNamespace) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Namespaces = append([]specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.UTSNamespace}}, n...)
		}
	}
	user := func(uids, gids []specs.LinuxIDMapping, u specs.User) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings, s.Linux.GIDMappings, s.Process.User = uids, gids, u
		}
	}
	sysctl := func(name string) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{name: "1"} }
	}
	rlimits := func(r ...specs.POSIXRlimit) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.Rlimits = r }
	}
	thousand := []specs.LinuxIDMapping{{HostID: 100000, Size: 1000}}
	umask, hook := uint32(0o1000), []specs.Hook{{Path: "/bin/true"}}
	const none = 1<<32 - 1
	for _, c := range []struct {
		want   string
		change func(*specs.Spec)
	}{
		{"ociVersion: ", func(s *specs.Spec) { s.Version = "2.0.0" }},
		{"process: ", func(s *specs.Spec) { s.Process = nil }},
		{"root: ", func(s *specs.Spec) { s.Root = nil }},
		{"linux: ", func(s *specs.Spec) { s.Linux = nil }},
		{"solaris: ", func(s *specs.Spec) { s.Solaris = &specs.Solaris{} }},
		{"windows: ", func(s *specs.Spec) { s.Windows = &specs.Windows{} }},
		{"vm: ", func(s *specs.Spec) { s.VM = &specs.VM{} }},
		{"zos: ", func(s *specs.Spec) { s.ZOS = &specs.ZOS{} }},
		{"freebsd: ", func(s *specs.Spec) { s.FreeBSD = &specs.FreeBSD{} }},
		{"hooks.prestart: ", func(s *specs.Spec) { s.Hooks = &specs.Hooks{Prestart: hook} }}, //nolint:staticcheck // refused, not used
		{"hooks.createRuntime: ", func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: hook} }},
		{"hooks.createContainer: ", func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateContainer: hook} }},
		{"hooks.startContainer: ", func(s *specs.Spec) { s.Hooks = &specs.Hooks{StartContainer: hook} }},
		{"hooks.poststart: ", func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststart: hook} }},
		{"hooks.poststop: ", func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: hook} }},
		{"process.args: ", func(s *specs.Spec) { s.Process.Args = nil }},
		{"process.args[1]: ", func(s *specs.Spec) { s.Process.Args = []string{"a", "b\x00"} }},
		{"process.env[1]: ", func(s *specs.Spec) { s.Process.Env = []string{"A=b", "B"} }},
		{"process.env[0]: ", func(s *specs.Spec) { s.Process.Env = []string{"=b"} }},
		{"process.cwd: ", func(s *specs.Spec) { s.Process.Cwd = "here" }},
		{"process.cwd: ", func(s *specs.Spec) { s.Process.Cwd = "" }},
		{"process.commandLine: ", func(s *specs.Spec) { s.Process.CommandLine = "x" }},
		{"process.user.username: ", func(s *specs.Spec) { s.Process.User.Username = "x" }},
		{"process.user.uid: ", func(s *specs.Spec) { s.Process.User.UID = none }},
		{"process.user.gid: ", func(s *specs.Spec) { s.Process.User.GID = none }},
		{"process.user.additionalGids: ", func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{none} }},
		{"process.user.umask: ", func(s *specs.Spec) { s.Process.User.Umask = &umask }},
		{"process.apparmorProfile: ", func(s *specs.Spec) { s.Process.ApparmorProfile = "docker-default" }},
		{"process.selinuxLabel: ", func(s *specs.Spec) { s.Process.SelinuxLabel = "x" }},
		{"process.scheduler: ", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{} }},
		{"process.ioPriority: ", func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{} }},
		{"process.execCPUAffinity: ", func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{} }},
		{"process.rlimits[0]: ", rlimits(specs.POSIXRlimit{Type: "NOFILE"})},
		{"process.rlimits[0]: ", rlimits(specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: 2, Hard: 1})},
		{"process.rlimits[1]: ", rlimits(specs.POSIXRlimit{Type: "RLIMIT_CPU"}, specs.POSIXRlimit{Type: "RLIMIT_CPU"})},
		{"hostname: ", func(s *specs.Spec) { s.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}} }},
		{"domainname: ", func(s *specs.Spec) {
			s.Hostname, s.Domainname, s.Linux.Namespaces = "", "x", []specs.LinuxNamespace{{Type: specs.MountNamespace}}
		}},
		{"linux.namespaces[mount]: ", func(s *specs.Spec) { s.Hostname, s.Linux.Namespaces = "", nil }},
		{"linux.namespaces[mount]: ", func(s *specs.Spec) {
			s.Hostname, s.Linux.Namespaces = "", []specs.LinuxNamespace{{Type: specs.MountNamespace, Path: "/proc/1/ns/mnt"}}
		}},
		{"linux.namespaces[time]: ", namespaces(specs.LinuxNamespace{Type: specs.TimeNamespace, Path: "/proc/1/ns/time"})},
		{"linux.namespaces[time]: ", namespaces(specs.LinuxNamespace{Type: specs.TimeNamespace}, specs.LinuxNamespace{Type: specs.TimeNamespace})},
		{"linux.namespaces[]: ", namespaces(specs.LinuxNamespace{Type: "net"})},
		{"linux.namespaces[ipc]: ", namespaces(specs.LinuxNamespace{Type: specs.IPCNamespace}, specs.LinuxNamespace{Type: specs.IPCNamespace})},
		{"linux.namespaces[pid]: ", namespaces(specs.LinuxNamespace{Type: specs.PIDNamespace, Path: "ns/pid"})},
		{"linux.uidMappings and linux.gidMappings: ", func(s *specs.Spec) { s.Linux.UIDMappings = thousand }},
		{"linux.uidMappings: ", user(nil, thousand, specs.User{})},
		{"linux.gidMappings: ", user(thousand, make([]specs.LinuxIDMapping, 341), specs.User{})},
		{"linux.uidMappings: ", user([]specs.LinuxIDMapping{{ContainerID: 1, HostID: 1, Size: 1}}, thousand, specs.User{UID: 1})},
		{"process.user.uid: ", user(thousand, thousand, specs.User{UID: 1000})},
		{"process.user.gid and additionalGids: ", user(thousand, thousand, specs.User{AdditionalGids: []uint32{5, 5000}})},
		{"linux.sysctl[kernel.panic]: ", sysctl("kernel.panic")},
		{"linux.sysctl[kernel.hostname]: ", sysctl("kernel.hostname")},
		{"linux.sysctl[net.../x]: ", sysctl("net.../x")},
		{"linux.sysctl[net/../kernel/panic]: ", sysctl("net/../kernel/panic")},
		{"linux.sysctl[net.ipv4.ip_forward]: ", func(s *specs.Spec) {
			namespaces()(s)
			sysctl("net.ipv4.ip_forward")(s)
		}},
		{"linux.sysctl[net.ipv4.ip_forward]: ", func(s *specs.Spec) {
			namespaces(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/proc/self/ns/net"})(s)
			sysctl("net.ipv4.ip_forward")(s)
		}},
		{"linux.devices[0].path: ", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "null", Type: "c"}} }},
		{"linux.devices[0].type: ", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "a"}} }},
		{"linux.devices[0]: ", func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "c", Major: -1}}
		}},
		{"linux.netDevices: ", func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth1": {}} }},
		{"linux.mountLabel: ", func(s *specs.Spec) { s.Linux.MountLabel = "x" }},
		{"linux.intelRdt: ", func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} }},
		{"linux.memoryPolicy: ", func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} }},
		{"linux.personality: ", func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{} }},
		{"linux.timeOffsets: ", func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {}} }},
		{"linux.rootfsPropagation: ", func(s *specs.Spec) { s.Linux.RootfsPropagation = "public" }},
		{"linux.maskedPaths[0]: ", func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"x"} }},
		{"linux.readonlyPaths[1]: ", func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"/a", "x"} }},
		{"mounts[0].destination: ", mount(specs.Mount{Destination: "data", Type: "tmpfs"})},
		{"mounts[0].destination: ", mount(specs.Mount{Destination: "/a/..", Type: "tmpfs"})},
		{"mounts[0].destination: ", mount(specs.Mount{Destination: "/proc", Type: "tmpfs"})},
		{"mounts[0].destination: ", mount(specs.Mount{Destination: "/dev/../proc/self/attr", Type: "tmpfs"})},
		{"mounts[0].type: ", mount(specs.Mount{Destination: "/data"})},
		{"mounts[0].source: ", mount(specs.Mount{Destination: "/data", Source: "data", Options: []string{"rbind"}})},
		{"mounts[0].gidMappings: ", mount(specs.Mount{Destination: "/data", Source: "/a", Type: "bind", UIDMappings: thousand})},
		{"mounts[0].uidMappings: ", mount(specs.Mount{Destination: "/data", Source: "/a", Type: "bind", GIDMappings: thousand})},
		{"mounts[0].options: ", mount(specs.Mount{Destination: "/data", Source: "/a", Type: "bind", UIDMappings: thousand, GIDMappings: thousand})},
		{"mounts[0].options: ", mount(specs.Mount{Destination: "/data", Type: "tmpfs", UIDMappings: thousand, GIDMappings: thousand})},
		{"mounts[0].options: ", options("bind", "idmap")},
		{"mounts[0].options: ", options("bind", "size=1k")},
		{"mounts[0].options: ", options("bind", "remount", "ro")},
		{"mounts[0].options: ", options("sysfs", "tmpcopyup")},
		{"mounts[0].options: ", options("cgroup", "cpu")},
	} {
		t.Run(c.want, func(t *testing.T) {
			spec := newSpec()
			c.change(spec)
			if err := Validate(spec); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %v, want one that starts with %q", err, c.want)
			}
		})
	}
}

// TestEveryFieldIsDecided fails when a release of the runtime spec has a field
// that nobody here has thought of. Add it to Validate or to what is done.
func TestEveryFieldIsDecided(t *testing.T) {
	refused := `commandLine username apparmorProfile scheduler selinuxLabel ioPriority execCPUAffinity hooks
		solaris windows vm zos freebsd netDevices mountLabel intelRdt memoryPolicy personality timeOffsets`
	done := `ociVersion process user uid gid umask additionalGids cwd rlimits type hard soft root readonly hostname domainname
		mounts destination source options linux uidMappings gidMappings containerID hostID size sysctl namespaces path
		devices major minor fileMode rootfsPropagation maskedPaths readonlyPaths`
	elsewhere := "terminal consoleSize args env oomScoreAdj annotations resources cgroupsPath seccomp"
	meaningless := "capabilities noNewPrivileges"
	known := strings.Fields(refused + " " + done + " " + elsewhere + " " + meaningless)
	opaque := strings.Fields(refused + " " + elsewhere + " " + meaningless)

	var visit func(at string, kind reflect.Type)
	visit = func(at string, kind reflect.Type) {
		for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
			kind = kind.Elem()
		}
		if kind.Kind() != reflect.Struct {
			return
		}
		for i := range kind.NumField() {
			name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			if !slices.Contains(known, name) {
				t.Errorf("%s%s: not decided", at, name)
			} else if !slices.Contains(opaque, name) {
				visit(at+name+".", kind.Field(i).Type)
			}
		}
	}
	visit("", reflect.TypeFor[specs.Spec]())
}

func TestNamespaces(t *testing.T) {
	spec := &specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
		{Type: specs.PIDNamespace, Path: "/p"}, {Type: specs.CgroupNamespace}, {Type: specs.MountNamespace},
		{Type: specs.UTSNamespace, Path: "/u"}, {Type: specs.IPCNamespace}, {Type: specs.NetworkNamespace, Path: "/n"}, {Type: specs.UserNamespace, Path: "/user"},
	}}}
	flags, joins, err := Namespaces(spec)
	if err != nil {
		t.Fatal(err)
	}
	if want := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWIPC); flags != want {
		t.Errorf("flags %#x, want %#x", flags, want)
	}
	want := []Join{{specs.UserNamespace, "/user", unix.CLONE_NEWUSER}, {specs.NetworkNamespace, "/n", unix.CLONE_NEWNET}, {specs.UTSNamespace, "/u", unix.CLONE_NEWUTS}, {specs.PIDNamespace, "/p", unix.CLONE_NEWPID}}
	if !slices.Equal(joins, want) {
		t.Errorf("joins %v, want %v", joins, want)
	}
}

// TestErrors holds the sentences that people read when a container cannot be made.
func TestErrors(t *testing.T) {
	rootfs := newRootfs(t, map[string]string{"file": "x", "proclink": "->/proc/self"})
	for _, c := range []struct {
		want   string
		change func(*specs.Spec)
	}{
		{"mounts[7]: bind /host/x on /data: no such file or directory", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: "/host/x"})
		}},
		{"mounts[7]: bind /etc on /file: the source is a directory and the destination is not", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/file", Type: "bind", Source: "/etc"})
		}},
		{"mounts[7]: bind /etc/passwd on /etc: the destination is a directory and the source is not", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc", Type: "bind", Source: "/etc/passwd"})
		}},
		{"mounts[7]: tmpfs on /file/x: not a directory", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/file/x", Type: "tmpfs"})
		}},
		{"mounts[7]: nosuchfs on /data: the kernel has no file system \"nosuchfs\"", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Type: "nosuchfs"})
		}},
		{"mounts[7]: tmpfs on /data: option size=much: invalid argument (tmpfs: Bad value for 'size')", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Options: []string{"size=much"}})
		}},
		{"mounts[7]: tmpfs on /proclink/attr: the image has a symbolic link into procfs there, where nothing can be mounted", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/proclink/attr", Type: "tmpfs"})
		}},
		{"mounts[7]: bind /etc on /proc: only procfs can be mounted on /proc", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/proc", Type: "bind", Source: "/etc"})
		}},
		{"mounts[7]: proc on /proclink: the image has a symbolic link there, and proc can only be mounted on a directory", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/proclink", Type: "proc"})
		}},
		{"linux.devices[0]: /dev/null: something else is there already", func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/null", Type: "c", Major: 1, Minor: 5}}
		}},
		{"linux.sysctl[net.ipv4.nothing]: open /proc/sys/net/ipv4/nothing: no such file or directory", func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"net.ipv4.nothing": "1"}
		}},
		{"linux.sysctl[net.ipv4.ip_unprivileged_port_start]: write /proc/sys/net/ipv4/ip_unprivileged_port_start: invalid argument", func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "x"}
		}},
		{"process.cwd: /file: not a directory", func(s *specs.Spec) { s.Process.Cwd = "/file" }},
		{fmt.Sprintf("hostname: %q: invalid argument", strings.Repeat("x", 65)), func(s *specs.Spec) { s.Hostname = strings.Repeat("x", 65) }},
	} {
		t.Run(c.want, func(t *testing.T) {
			spec := newSpec()
			c.change(spec)
			if _, err := tryEnter(t, spec, rootfs); err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
	for _, path := range []string{"/", "/nowhere", "rootfs", rootfs + "/file"} {
		if _, err := tryEnter(t, newSpec(), path); err == nil || !strings.HasPrefix(err.Error(), "root.path: ") {
			t.Errorf("root file system %s: error %v", path, err)
		}
	}
}
