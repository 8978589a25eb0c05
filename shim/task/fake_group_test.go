package task

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	"github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// fakeGroup is a cgroup whose frozen processes do not die, as of version 1.
type fakeGroup struct {
	cfg  cgroups.Config
	kill func(pid int)

	// Where these are set, the call waits for the channel or fails.
	freezing, thawing, deleting            chan struct{}
	freezeErr, thawErr, deleteErr, joinErr error
	updateErr, metricsErr                  error

	mu       sync.Mutex
	pids     []int
	frozen   bool
	dying    []int
	oomKills uint64
	onOOM    func()
	updates  []*specs.LinuxResources
	deleted  int
}

func (g *fakeGroup) Dir() (*os.File, error) { return nil, nil }

func (g *fakeGroup) Add(pid int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.joinErr == nil {
		g.pids = append(g.pids, pid)
	}
	return g.joinErr
}

func (g *fakeGroup) Join(pid int) error { return g.Add(pid) }

func (g *fakeGroup) leave(pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, p := range g.pids {
		if p == pid {
			g.pids = append(g.pids[:i:i], g.pids[i+1:]...)
			return
		}
	}
}

// postpone reports whether a signal to pid has to wait for the thaw.
func (g *fakeGroup) postpone(pid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen {
		g.dying = append(g.dying, pid)
	}
	return g.frozen
}

func (g *fakeGroup) Update(r *specs.LinuxResources) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.updateErr == nil {
		g.updates = append(g.updates, r)
	}
	return g.updateErr
}

func (g *fakeGroup) Freeze() error {
	if g.freezing != nil {
		<-g.freezing
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = g.freezeErr == nil
	return g.freezeErr
}

func (g *fakeGroup) Thaw() error {
	if g.thawing != nil {
		<-g.thawing
	}
	g.mu.Lock()
	err, dying := g.thawErr, g.dying
	if err == nil {
		g.frozen, g.dying = false, nil
	}
	g.mu.Unlock()
	if err == nil {
		for _, pid := range dying {
			g.kill(pid)
		}
	}
	return err
}

func (g *fakeGroup) Pids() ([]int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int(nil), g.pids...), nil
}

// Kill thaws the group, too.
func (g *fakeGroup) Kill() error {
	pids, _ := g.Pids()
	g.mu.Lock()
	g.frozen, g.dying = false, nil
	g.mu.Unlock()
	for _, pid := range pids {
		g.kill(pid)
	}
	return nil
}

func (g *fakeGroup) Metrics() (any, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deleted > 0 {
		return nil, fs.ErrNotExist
	}
	if g.metricsErr != nil {
		return nil, g.metricsErr
	}
	return &stats.Metrics{Pids: &stats.PidsStat{Current: uint64(len(g.pids))}}, nil
}

func (g *fakeGroup) WatchOOM(_ context.Context, f func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onOOM = f
	return nil
}

// outOfMemory counts a kill; told says whether the watcher learns of it.
func (g *fakeGroup) outOfMemory(told bool) {
	g.mu.Lock()
	g.oomKills++
	onOOM := g.onOOM
	g.mu.Unlock()
	if told && onOOM != nil {
		onOOM()
	}
}

func (g *fakeGroup) OOMKills() (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.oomKills, nil
}

func (g *fakeGroup) Delete() error {
	if g.deleting != nil {
		<-g.deleting
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deleteErr != nil {
		return g.deleteErr
	}
	if len(g.pids) > 0 {
		return errors.New("cgroup has processes")
	}
	g.deleted++
	return nil
}
