package task

import (
	"errors"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	eventsAPI "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"
)

// supervise waits for the end of a process and sees to what follows from it.
// Nobody is told of the exit before all of it is done.
func (s *wasm) supervise(p *process, exited <-chan runc.Exit) {
	exit := <-exited
	c := p.container
	c.mu.Lock() // which a Start that is under way holds
	// From now on the pid may be another's.
	if err := p.guest.Close(); err != nil {
		p.log().WithError(err).Warn("process not let go of")
	}
	p.exitStatus, p.exitedAt = uint32(exit.Status), exit.Timestamp
	c.mu.Unlock()
	s.reportOOM(c)
	var metrics *anypb.Any
	if p == c.init {
		metrics = c.end()
	} else {
		p.stdio.finish()
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if p == c.init {
		c.lastStats = metrics
	}
	if err := p.enter(stopped, "ended"); err != nil {
		p.log().WithError(err).Error("exit of a process that had already ended")
		return
	}
	s.events.send(&eventsAPI.TaskExit{
		ContainerID: c.id,
		ID:          p.eventID(),
		Pid:         uint32(p.pid),
		ExitStatus:  p.exitStatus,
		ExitedAt:    protobuf.ToTimestamp(p.exitedAt),
	})
	close(p.ended)
	p.log().WithFields(log.Fields{"pid": p.pid, "status": p.exitStatus}).Info("exited")
}

// end does what follows from the exit of the first process, and returns the
// container's last metrics, nil where there are none. No other process of the
// container runs afterwards, and their exits have been told of; those that are
// being started will not run.
func (c *container) end() (metrics *anypb.Any) {
	c.stopOOM()
	// Before anything slow: systemd soon removes a scope that has no process left.
	// CRI asks for the metrics of an ended container to tell why it ended.
	measured, err := c.group.Metrics()
	if err == nil {
		metrics, err = typeurl.MarshalAnyToProto(measured)
	}
	if err != nil && !errors.Is(err, cgroups.ErrNoGroup) { // of which the log has told
		c.log.WithError(err).Warn("no metrics at exit")
	}
	if err := c.persist(); err != nil {
		c.log.WithError(err).Warn("exit not recorded")
	}
	if err := c.group.Kill(); err != nil {
		c.log.WithError(err).Warn("processes left in the cgroup not killed")
	}
	c.init.stdio.finish()
	deadline := time.After(killTimeout)
	for _, p := range c.othersIn(func(s state) bool { return s == running }) {
		select {
		case <-p.ended:
		case <-deadline:
			p.log().Warn("process does not end although its container has")
		}
	}
	return metrics
}
