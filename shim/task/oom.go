package task

import (
	"context"
	"errors"
	"sync"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	eventsAPI "github.com/containerd/containerd/api/events"
)

// oomReporter remembers which kills for want of memory have been told of.
type oomReporter struct {
	mu       sync.Mutex
	reported uint64
}

// watchOOM tells of the out-of-memory kills in the container while it lives.
func (s *wasm) watchOOM(c *container) {
	ctx, stop := context.WithCancel(s.ctx)
	c.stopOOM = stop
	err := c.group.WatchOOM(ctx, func() { s.reportOOM(c) })
	switch {
	case errors.Is(err, cgroups.ErrNoGroup):
		c.log.WithError(err).Warn("it cannot be limited, frozen or measured")
	case err != nil:
		// The exit of the container looks for a kill, too.
		c.log.WithError(err).Warn("out-of-memory kills are told of only at exit")
	}
}

// reportOOM sends TaskOOM if the kernel has killed for want of memory since it
// was last called.
func (s *wasm) reportOOM(c *container) {
	c.oom.mu.Lock()
	defer c.oom.mu.Unlock()
	kills, err := c.group.OOMKills()
	if err != nil {
		c.log.WithError(err).Warn("out-of-memory kills unknown")
		return
	}
	if kills <= c.oom.reported {
		return
	}
	c.oom.reported = kills
	c.log.Info("the kernel killed a process of the container: out of memory")
	s.events.send(&eventsAPI.TaskOOM{ContainerID: c.id})
}
