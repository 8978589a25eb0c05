package cgroups

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moby/sys/userns"
	control "github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/cgroups/systemd"
)

// IsScope reports whether a cgroupsPath, by its form slice:prefix:name, is one of
// systemd's, whoever has it.
func IsScope(path string) bool {
	return strings.Count(path, ":") == 2 && !strings.Contains(path, "/")
}

// locate turns the container's cgroupsPath into a group of one of the two drivers.
func locate(cfg Config) (*control.Cgroup, error) {
	parts, scope := strings.Split(cfg.Path, ":"), IsScope(cfg.Path)
	if !scope && !cfg.Systemd {
		return locateFile(cfg)
	}
	switch {
	case cfg.Path == "":
		parts = []string{"", "wasm", cfg.ID}
	case !scope:
		return nil, fmt.Errorf("linux.cgroupsPath %q: the systemd driver needs the form slice:prefix:name", cfg.Path)
	}
	slice, prefix, name := parts[0], parts[1], parts[2]
	if name == "" {
		return nil, fmt.Errorf("linux.cgroupsPath %q: the name after the second colon is empty", cfg.Path)
	}
	if strings.HasSuffix(name, ".slice") {
		return nil, fmt.Errorf("linux.cgroupsPath %q: the name after the second colon is a slice, and a container's group must be a scope", cfg.Path)
	}
	if userns.RunningInUserNS() {
		return nil, fmt.Errorf("linux.cgroupsPath %q: the systemd driver does not work in a user namespace; use a path of the form /parent/name and turn the systemd driver off", cfg.Path)
	}
	if !systemd.IsRunningSystemd() {
		return nil, fmt.Errorf("linux.cgroupsPath %q: systemd does not run on this host; use a path of the form /parent/name and turn the systemd driver off", cfg.Path)
	}
	return &control.Cgroup{Systemd: true, Parent: slice, ScopePrefix: prefix, Name: name}, nil
}

func locateFile(cfg Config) (*control.Cgroup, error) {
	path := cfg.Path
	if path == "" {
		path = "wasm-" + strings.ReplaceAll(cfg.ID, "/", "_")
	}
	// A relative path could be taken from the caller's own group; from the root it
	// means the same to the shim's daemon and to its delete command.
	path = filepath.Clean("/" + path)
	if path == "/" {
		return nil, fmt.Errorf("linux.cgroupsPath %q: a container cannot have the root group; give it one below, such as /wasm/NAME", cfg.Path)
	}
	return &control.Cgroup{Path: path}, nil
}

// below returns the group's path below the root of its hierarchies, the same in
// all of them.
func below(paths map[string]string, v2 bool) (string, error) {
	if v2 {
		return strings.TrimPrefix(paths[""], fs2.UnifiedMountpoint), nil
	}
	root, err := control.FindCgroupMountpoint("", "devices")
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(paths["devices"], root), nil
}
