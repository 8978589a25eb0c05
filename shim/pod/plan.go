package pod

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	sandboxAPI "github.com/containerd/containerd/api/runtime/sandbox/v1"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// plan is what CRI wants of a pod.
type plan struct {
	config     *cri.PodSandboxConfig
	cgroupPath string // linux.cgroupsPath of the pod's own process
	netns      string // the network namespace's file; empty for the host's
	hostname   string
}

// planOf reads a request. Its options are CRI's PodSandboxConfig; a client that
// sends none gets a pod with a network namespace as given.
func planOf(r *sandboxAPI.CreateSandboxRequest) (*plan, error) {
	config := &cri.PodSandboxConfig{}
	if o := r.GetOptions(); o.GetTypeUrl() != "" {
		if !o.MessageIs(config) {
			return nil, fmt.Errorf("options of type %q; CRI's PodSandboxConfig is understood: %w", o.GetTypeUrl(), errdefs.ErrInvalidArgument)
		}
		if err := proto.Unmarshal(o.GetValue(), config); err != nil {
			return nil, fmt.Errorf("PodSandboxConfig: %w: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	if len(r.GetRootfs()) > 0 {
		return nil, fmt.Errorf("rootfs: a pod of this runtime has none: %w", errdefs.ErrInvalidArgument)
	}
	p := &plan{config: config, netns: r.GetNetnsPath(), hostname: config.GetHostname()}
	if p.hostNetwork() {
		p.netns = ""
	} else if p.netns == "" {
		return nil, fmt.Errorf("netns_path: missing; who asks for a pod that is not in the host's network makes its namespace: %w", errdefs.ErrInvalidArgument)
	}
	if p.hostname == "" {
		var err error
		if p.hostname, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	// As CRI names the cgroup of a pause container.
	if parent := config.GetLinux().GetCgroupParent(); parent != "" {
		p.cgroupPath = filepath.Join(parent, r.GetSandboxID())
		if base := path.Base(parent); strings.HasSuffix(base, ".slice") {
			p.cgroupPath = strings.Join([]string{base, "cri-containerd", r.GetSandboxID()}, ":")
		}
	}
	return p, nil
}

func (p *plan) namespaces() *cri.NamespaceOption {
	return p.config.GetLinux().GetSecurityContext().GetNamespaceOptions()
}

func (p *plan) hostNetwork() bool { return p.namespaces().GetNetwork() == cri.NamespaceMode_NODE }
func (p *plan) hostIPC() bool     { return p.namespaces().GetIpc() == cri.NamespaceMode_NODE }

// unprivilegedPorts is the sysctl by which the pod's containers, none of which has
// a capability, may listen on any port of the pod's own network. CRI sets it for
// pods with a pause container likewise (enable_unprivileged_ports).
const unprivilegedPorts = "net.ipv4.ip_unprivileged_port_start"

// spec is the plan as package sandbox takes it. done is to be called once the
// process has been started.
func (p *plan) spec() (_ *specs.Spec, done func(), err error) {
	s := &specs.Spec{Linux: &specs.Linux{Sysctl: map[string]string{}}}
	done = func() {}
	add := func(kind specs.LinuxNamespaceType, path string) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
	}
	add(specs.MountNamespace, "")
	if !p.hostNetwork() {
		add(specs.NetworkNamespace, p.netns)
		add(specs.UTSNamespace, "")
		s.Hostname = p.hostname
		s.Linux.Sysctl[unprivilegedPorts] = "0"
	}
	if !p.hostIPC() {
		add(specs.IPCNamespace, "")
	}
	if p.namespaces().GetPid() == cri.NamespaceMode_POD {
		add(specs.PIDNamespace, "")
	}
	for name, value := range p.config.GetLinux().GetSysctls() {
		s.Linux.Sysctl[name] = value
	}
	users := p.namespaces().GetUsernsOptions()
	if users == nil || users.GetMode() != cri.NamespaceMode_POD {
		return s, done, nil
	}
	if p.hostNetwork() {
		add(specs.UserNamespace, "")
		s.Linux.UIDMappings, s.Linux.GIDMappings = mappings(users.GetUids()), mappings(users.GetGids())
		return s, done, nil
	}
	owner, err := ownerOf(p.netns)
	if err != nil {
		return nil, nil, fmt.Errorf("user namespace of the pod's network namespace %s: %w", p.netns, err)
	}
	add(specs.UserNamespace, fmt.Sprintf("/proc/self/fd/%d", owner.Fd()))
	return s, func() { owner.Close() }, nil
}

// ownerOf opens the user namespace to which a namespace belongs: CRI makes the
// network namespace of a pod inside of the pod's user namespace.
func ownerOf(namespace string) (*os.File, error) {
	file, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	fd, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return nil, os.NewSyscallError("NS_GET_USERNS", err)
	}
	return os.NewFile(uintptr(fd), "user namespace"), nil
}

func mappings(of []*cri.IDMapping) (m []specs.LinuxIDMapping) {
	for _, i := range of {
		m = append(m, specs.LinuxIDMapping{ContainerID: i.GetContainerId(), HostID: i.GetHostId(), Size: i.GetLength()})
	}
	return m
}
