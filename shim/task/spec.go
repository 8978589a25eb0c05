package task

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// readSpec reads the runtime spec of the bundle. Of its content it only makes
// sure of what this package needs; what a container is made of checks its part.
func readSpec(bundle string) (*specs.Spec, error) {
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the runtime spec cannot be read: %w", err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("%s is not a runtime spec: %w: %w", path, err, errdefs.ErrInvalidArgument)
	}
	if spec.Root == nil || spec.Root.Path == "" {
		return nil, fmt.Errorf("%s: root.path is missing: %w", path, errdefs.ErrInvalidArgument)
	}
	return &spec, nil
}

// withProcess is the container's spec as it is for a further process.
func withProcess(spec *specs.Spec, process *specs.Process) *specs.Spec {
	changed := *spec
	changed.Process = process
	return &changed
}

// rootfsPath is the absolute path of the container's root file system.
func rootfsPath(bundle string, spec *specs.Spec) string {
	if filepath.IsAbs(spec.Root.Path) {
		return filepath.Clean(spec.Root.Path)
	}
	return filepath.Join(bundle, spec.Root.Path)
}

// memoryLimit is the container's limit in bytes; 0 is none.
func memoryLimit(spec *specs.Spec) int64 {
	if spec.Linux == nil || spec.Linux.Resources == nil || spec.Linux.Resources.Memory == nil || spec.Linux.Resources.Memory.Limit == nil {
		return 0
	}
	return max(0, *spec.Linux.Resources.Memory.Limit)
}

// hostUser is the id that the process's user has on the host, -1 if it has none.
func hostUser(spec *specs.Spec) int {
	uid := spec.Process.User.UID
	if spec.Linux == nil || len(spec.Linux.UIDMappings) == 0 {
		return int(uid)
	}
	for _, m := range spec.Linux.UIDMappings {
		if uid >= m.ContainerID && uid-m.ContainerID < m.Size {
			return int(m.HostID + uid - m.ContainerID)
		}
	}
	return -1
}

// podFields names the pod of a container in logs, where CRI or CRI-O made one.
func podFields(spec *specs.Spec) log.Fields {
	for _, prefix := range []string{"io.kubernetes.cri.sandbox-", "io.kubernetes.pod."} {
		if name := spec.Annotations[prefix+"name"]; name != "" {
			return log.Fields{"pod": spec.Annotations[prefix+"namespace"] + "/" + name}
		}
	}
	return nil
}
