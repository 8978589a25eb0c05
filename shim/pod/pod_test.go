package pod

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sandboxAPI "github.com/containerd/containerd/api/runtime/sandbox/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func request(t *testing.T, netns string, config *cri.PodSandboxConfig) *sandboxAPI.CreateSandboxRequest {
	t.Helper()
	options, err := typeurl.MarshalAnyToProto(config)
	if err != nil {
		t.Fatal(err)
	}
	return &sandboxAPI.CreateSandboxRequest{SandboxID: "pod", BundlePath: t.TempDir(), NetnsPath: netns, Options: options}
}

func options(cgroup string, o *cri.NamespaceOption) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{Hostname: "web-0", Linux: &cri.LinuxPodSandboxConfig{
		CgroupParent: cgroup, SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: o},
	}}
}

func TestPlan(t *testing.T) {
	for name, c := range map[string]struct {
		netns      string
		config     *cri.PodSandboxConfig
		cgroup     string
		namespaces []specs.LinuxNamespaceType
		hostname   string
		port       string
	}{
		"ordinary": {
			"/run/netns/x", options("/kubepods/besteffort/pod1", &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}),
			"/kubepods/besteffort/pod1/pod", []specs.LinuxNamespaceType{"mount", "network", "uts", "ipc"}, "web-0", "0",
		},
		"systemd": {
			"/run/netns/x", options("/kubepods.slice/kubepods-pod1.slice", &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}),
			"kubepods-pod1.slice:cri-containerd:pod", []specs.LinuxNamespaceType{"mount", "network", "uts", "ipc"}, "web-0", "0",
		},
		"shared processes": {
			"/run/netns/x", options("", &cri.NamespaceOption{Pid: cri.NamespaceMode_POD}),
			"", []specs.LinuxNamespaceType{"mount", "network", "uts", "ipc", "pid"}, "web-0", "0",
		},
		"the host's": {
			"", options("", &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Ipc: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_NODE}),
			"", []specs.LinuxNamespaceType{"mount"}, "", "",
		},
		"users in the host's network": {
			"", options("", &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER, UsernsOptions: &cri.UserNamespace{
				Mode: cri.NamespaceMode_POD, Uids: []*cri.IDMapping{{HostId: 65536, Length: 65536}}, Gids: []*cri.IDMapping{{HostId: 65536, Length: 65536}},
			}}),
			"", []specs.LinuxNamespaceType{"mount", "ipc", "user"}, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := planOf(request(t, c.netns, c.config))
			if err != nil {
				t.Fatal(err)
			}
			if p.cgroupPath != c.cgroup {
				t.Errorf("cgroup %q", p.cgroupPath)
			}
			spec, done, err := p.spec()
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			var got []specs.LinuxNamespaceType
			for _, n := range spec.Linux.Namespaces {
				got = append(got, n.Type)
				if want := map[bool]string{true: c.netns}[n.Type == specs.NetworkNamespace]; n.Path != want {
					t.Errorf("%s namespace by path %q", n.Type, n.Path)
				}
			}
			if !slices.Equal(got, c.namespaces) || spec.Hostname != c.hostname || spec.Linux.Sysctl[unprivilegedPorts] != c.port {
				t.Errorf("namespaces %v, host name %q, sysctls %v", got, spec.Hostname, spec.Linux.Sysctl)
			}
			if slices.Contains(got, specs.UserNamespace) && (len(spec.Linux.UIDMappings) != 1 || spec.Linux.UIDMappings[0].HostID != 65536) {
				t.Errorf("mappings %v", spec.Linux.UIDMappings)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	damaged := request(t, "/run/netns/x", &cri.PodSandboxConfig{})
	damaged.Options.Value = []byte{0xff}
	for part, r := range map[string]*sandboxAPI.CreateSandboxRequest{
		"netns_path":         request(t, "", options("", nil)),
		"PodSandboxConfig":   damaged,
		`"example.com/type"`: {SandboxID: "pod", Options: &anypb.Any{TypeUrl: "example.com/type", Value: []byte{1}}},
	} {
		_, err := planOf(r)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", part, err)
		}
	}
}

// TestFurnish gives containers what they lack, and nothing else.
func TestFurnish(t *testing.T) {
	dir := t.TempDir()
	s := &Service{pod: &pod{id: "pod", bundle: "/b", plan: &plan{config: options("", nil)}}}
	for name, c := range map[string]struct {
		pod    string
		mounts []specs.Mount
		want   map[string]string
	}{
		"bare": {"pod", []specs.Mount{{Destination: "/dev/shm", Type: "tmpfs", Source: "shm"}},
			map[string]string{"/etc/hostname": "/b/hostname", "/etc/hosts": "/b/hosts", "/etc/resolv.conf": "/b/resolv.conf", "/dev/shm": "/b/shm"}},
		"its own": {"pod", []specs.Mount{{Destination: "/dev/shm/", Type: "bind", Source: "/volume"}, {Destination: "/etc/hosts", Type: "bind", Source: "/kubelet"}},
			map[string]string{"/etc/hostname": "/b/hostname", "/etc/hosts": "/kubelet", "/etc/resolv.conf": "/b/resolv.conf", "/dev/shm/": "/volume"}},
		"another's": {"other", nil, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := specs.Spec{Root: &specs.Root{Path: "rootfs", Readonly: true}, Mounts: c.mounts,
				Annotations: map[string]string{"io.kubernetes.cri.sandbox-id": c.pod}}
			data, err := json.Marshal(spec)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "config.json")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Furnish(dir); err != nil {
				t.Fatal(err)
			}
			if data, err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
			var got specs.Spec
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			if len(got.Mounts) != len(c.want) {
				t.Errorf("mounts %v", got.Mounts)
			}
			for _, m := range got.Mounts {
				if m.Source != c.want[m.Destination] {
					t.Errorf("%s is %s", m.Destination, m.Source)
				}
				if m.Source == "/b/hosts" && !slices.Contains(m.Options, "ro") {
					t.Errorf("%s can be written under a read-only root", m.Destination)
				}
			}
		})
	}
}

func TestResolvConf(t *testing.T) {
	got := string(formatResolvConf(&cri.DNSConfig{Servers: []string{"10.0.0.10", "fd00::a"}, Searches: []string{"a.svc", "svc"}, Options: []string{"ndots:5", "edns0"}}))
	if want := "search a.svc svc\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5 edns0\n"; got != want {
		t.Errorf("%q", got)
	}
}
