package pod

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// shmSize is that of a pod's /dev/shm, in bytes, as Docker and CRI have it.
const shmSize = 64 << 20

// etc are the files below /etc that a pod's containers share.
var etc = []string{"hostname", "hosts", "resolv.conf"}

// makeFiles makes in the bundle what the containers share. Those of a pod with a
// user namespace must be able to go through the bundle, and read nothing else there.
func (p *pod) makeFiles() error {
	if err := os.Chmod(p.bundle, 0o711); err != nil {
		return err
	}
	resolv, err := p.plan.resolvConf()
	if err != nil {
		return err
	}
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for name, content := range map[string][]byte{"hostname": []byte(p.plan.hostname + "\n"), "hosts": hosts, "resolv.conf": resolv} {
		if err := os.WriteFile(filepath.Join(p.bundle, name), content, 0o644); err != nil {
			return err
		}
	}
	if p.plan.hostIPC() {
		return nil
	}
	if err := os.Mkdir(shmDir(p.bundle), 0o755); err != nil {
		return err
	}
	options := fmt.Sprintf("mode=1777,size=%d", shmSize)
	if err := unix.Mount("shm", shmDir(p.bundle), "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("/dev/shm of the pod: %w", err)
	}
	return nil
}

// removeFiles takes the mount out of the bundle, which containerd removes.
func (p *pod) removeFiles() error {
	return bundle.Unmount(shmDir(p.bundle))
}

// resolvConf is the pod's own, or a copy of the host's where the pod has none.
func (p *plan) resolvConf() ([]byte, error) {
	dns := p.config.GetDnsConfig()
	if dns == nil {
		content, err := os.ReadFile("/etc/resolv.conf")
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return content, err
	}
	return formatResolvConf(dns), nil
}

// formatResolvConf writes resolv.conf(5).
func formatResolvConf(dns *cri.DNSConfig) (content []byte) {
	if len(dns.GetSearches()) > 0 {
		content = fmt.Appendf(content, "search %s\n", strings.Join(dns.GetSearches(), " "))
	}
	for _, server := range dns.GetServers() {
		content = fmt.Appendf(content, "nameserver %s\n", server)
	}
	if len(dns.GetOptions()) > 0 {
		content = fmt.Appendf(content, "options %s\n", strings.Join(dns.GetOptions(), " "))
	}
	return content
}

// Furnish gives a container of the pod the files that all of its containers share:
// it adds them to the mounts in the bundle's runtime spec, but for those that the
// spec has. A container of another pod, or of none, stays as it is.
func (s *Service) Furnish(dir string) error {
	s.mu.Lock()
	p := s.pod
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	file := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if spec.Annotations["io.kubernetes.cri.sandbox-id"] != p.id || !p.furnish(&spec) {
		return nil
	}
	if data, err = json.Marshal(&spec); err != nil {
		return err
	}
	return bundle.WriteFile(file, data)
}

// furnish reports whether it has changed the spec.
func (p *pod) furnish(spec *specs.Spec) (changed bool) {
	at := func(destination string) int {
		return slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return path.Clean(m.Destination) == destination })
	}
	bind := func(name, destination string, options ...string) specs.Mount {
		changed = true
		return specs.Mount{Type: "bind", Source: filepath.Join(p.bundle, name), Destination: destination, Options: append([]string{"rbind", "rprivate"}, options...)}
	}
	access := "rw"
	if spec.Root != nil && spec.Root.Readonly {
		access = "ro"
	}
	for _, name := range etc {
		if destination := "/etc/" + name; at(destination) < 0 {
			spec.Mounts = append(spec.Mounts, bind(name, destination, access))
		}
	}
	if p.plan.hostIPC() {
		return changed
	}
	// The default of runtime specs is one for each container. A volume stays.
	i := at("/dev/shm")
	if i >= 0 && spec.Mounts[i].Type != "tmpfs" {
		return changed
	}
	if i >= 0 {
		spec.Mounts = slices.Delete(spec.Mounts, i, i+1)
	}
	spec.Mounts = append(spec.Mounts, bind("shm", "/dev/shm", "rw", "nosuid", "nodev", "noexec"))
	return changed
}
