package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// Cgroups lists the control groups below /name in every hierarchy, parents
// first: the folder's own entry, too. It works on v1, hybrid and v2 machines.
func Cgroups(name string) ([]string, error) {
	var found []string
	for _, pattern := range []string{name, "*/" + name} { // v2; v1
		tops, err := filepath.Glob(filepath.Join(cgroupRoot, pattern))
		if err != nil {
			return nil, err
		}
		for _, top := range tops {
			err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if errors.Is(err, fs.ErrNotExist) {
					return nil // a container that ends just now
				}
				if err == nil && d.IsDir() {
					found = append(found, path)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// removeCgroups removes the control groups below /name. Their processes are
// dead already, but the kernel may need a moment to see the groups empty.
func removeCgroups(name string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		groups, err := Cgroups(name)
		if err != nil || len(groups) == 0 {
			return err
		}
		slices.Reverse(groups)
		for _, group := range groups {
			err = errors.Join(err, os.Remove(group))
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("control groups left behind: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
