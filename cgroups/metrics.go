package cgroups

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
)

// Metrics measures the group: a *stats.Metrics of containerd/cgroups/v3, of its
// cgroup2/stats on a v2 host and else of cgroup1/stats, which is what containerd,
// CRI and Docker can read. The error wraps fs.ErrNotExist where there is no group;
// systemd removes a scope soon after its last process has ended. It wraps
// ErrNoGroup where the container goes without one.
func (g *Group) Metrics() (any, error) {
	if n := g.none.Load(); n != nil {
		return nil, n.reason
	}
	if !g.exists() {
		return nil, fmt.Errorf("control group %s: %w", g.name, fs.ErrNotExist)
	}
	if g.v2 {
		group, err := cgroup2.Load(g.name)
		if err != nil {
			return nil, fmt.Errorf("control group %s: %w", g.name, err)
		}
		metrics, err := group.Stat()
		if err != nil {
			return nil, fmt.Errorf("metrics of control group %s: %w", g.name, err)
		}
		return metrics, nil
	}
	group, err := g.loadV1()
	if err != nil {
		return nil, fmt.Errorf("control group %s: %w", g.name, err)
	}
	// Kernels lack some files: swap without swap accounting, for one.
	metrics, err := group.Stat(cgroup1.IgnoreNotExist)
	if err != nil {
		return nil, fmt.Errorf("metrics of control group %s: %w", g.name, err)
	}
	return metrics, nil
}

// ParentMetrics measures the group's parent with all that is below it, as Metrics
// does: of a container in a pod of Kubernetes the pod.
func (g *Group) ParentMetrics() (any, error) {
	if n := g.none.Load(); n != nil {
		return nil, n.reason
	}
	parent := &Group{name: filepath.Dir(g.name), v2: g.v2, systemd: g.systemd, paths: maps.Clone(g.paths)}
	for controller, dir := range parent.paths {
		parent.paths[controller] = filepath.Dir(dir)
	}
	return parent.Metrics()
}

// loadV1 looks the hierarchies up once, as that reads the mount table, and keeps
// only those that have the group: call it when the group is complete.
func (g *Group) loadV1() (cgroup1.Cgroup, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.v1Metrics == nil {
		group, err := cgroup1.Load(cgroup1.StaticPath(g.name))
		if err != nil {
			return nil, err
		}
		g.v1Metrics = group
	}
	return g.v1Metrics, nil
}
