package bootstrap

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/cgroups"
)

// joinCgroup moves process pid into the existing control group at path, which is
// below the root of the hierarchies; with cgroup v1, of each one that has it.
func joinCgroup(path string, pid int) error {
	mounts, err := cgroups.GetCgroupMounts(true)
	if err != nil {
		return err
	}
	joined := false
	for _, m := range mounts {
		dir := filepath.Join(m.Mountpoint, filepath.Clean("/"+path))
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := cgroups.WriteCgroupProc(dir, pid); err != nil {
			return err
		}
		joined = true
	}
	if !joined {
		return fmt.Errorf("there is no control group %s; it has to be made first", path)
	}
	return nil
}
