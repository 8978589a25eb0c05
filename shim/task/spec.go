package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

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

// adjustOOMScore gives process pid the spec's oom_score_adj. To lower a score
// takes CAP_SYS_RESOURCE, which a shim in a container may lack; the container
// then runs with the score it has, as under runc in a user namespace.
func (c *container) adjustOOMScore(pid int) error {
	if c.spec.Process == nil || c.spec.Process.OOMScoreAdj == nil {
		return nil
	}
	score := *c.spec.Process.OOMScoreAdj
	err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0)
	switch {
	case errors.Is(err, os.ErrPermission):
		c.log.WithError(err).Warnf("process.oomScoreAdj stays as inherited instead of %d", score)
		return nil
	case err != nil:
		return fmt.Errorf("process.oomScoreAdj %d: %w", score, err)
	}
	return nil
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
