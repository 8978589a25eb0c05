package kubernetes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// covered are the folders of the machine that Kubernetes and CNI write into, or
// that have them below: paths in their code, whatever they are told.
var covered = []string{"/var/lib", "/var/log"}

// sysctls are those of the whole machine that the kubelet sets (pkg/kubelet/cm).
var sysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom",
	"kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// prepareMachine makes the namespaces that the program is in a machine for a node.
func prepareMachine(dir string) error {
	for _, folder := range covered {
		own := filepath.Join(dir, filepath.Base(folder))
		if err := os.Mkdir(own, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(own, folder, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", own, folder, err)
		}
	}
	if err := coverSysctls(dir); err != nil {
		return err
	}
	if err := makeCgroup(filepath.Base(dir)); err != nil {
		return err
	}
	// The address is the node's by being on an interface; the kubelet takes none
	// of 127.0.0.0/8.
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", NodeIP + "/32", "dev", "lo"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	return nil
}

// coverSysctls puts a file in the place of each.
func coverSysctls(dir string) error {
	// The kernel lets a user namespace mount procfs only where one is seen whole.
	whole := filepath.Join(dir, "proc")
	if err := os.Mkdir(whole, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("proc", whole, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc on %s: %w", whole, err)
	}
	for _, name := range sysctls {
		path := filepath.Join("/proc/sys", name)
		value, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		own := filepath.Join(dir, "sys", name)
		if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(own, value, 0o644); err != nil {
			return err
		}
		if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", own, path, err)
		}
	}
	return nil
}

// makeCgroup makes the group below which all pods are, in every hierarchy: the
// kubelet wants it to be there.
func makeCgroup(name string) error {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return os.Mkdir(filepath.Join(root, name), 0o755)
	}
	hierarchies, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if !h.IsDir() { // a link to a hierarchy of several controllers
			continue
		}
		group := filepath.Join(root, h.Name(), name)
		if err := os.Mkdir(group, 0o755); err != nil {
			return err
		}
		if h.Name() == "cpuset" {
			if err := inheritCpuset(group); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCpuset fills what a new group of the first version has empty.
func inheritCpuset(group string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(group), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, file), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// network is the CNI configuration of pods: a bridge, and ports of the node's.
func network(dir string) string {
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": %q,
        "ranges": [[{"subnet": "10.88.77.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"}
  ]
}
`, filepath.Join(dir, "addresses"))
}
