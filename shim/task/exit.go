package task

import (
	eventsAPI "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/typeurl/v2"
)

// supervise waits for the end of a container's first process and sees to what
// follows from it. Nobody is told of the exit before all of it is done.
func (s *service) supervise(p *process, exited <-chan runc.Exit) {
	exit := <-exited
	c := p.container
	c.mu.Lock() // which a Start that is under way holds
	// From now on the pid may be another's.
	if err := p.guest.Close(); err != nil {
		c.log.WithError(err).Warn("process not let go of")
	}
	p.exitStatus, p.exitedAt = uint32(exit.Status), exit.Timestamp
	c.mu.Unlock()
	if err := c.persist(); err != nil {
		c.log.WithError(err).Warn("exit not recorded")
	}
	c.stopOOM()
	s.reportOOM(c)
	// CRI asks for the metrics of an ended container to tell why it ended.
	metrics, err := c.group.Metrics()
	if err != nil {
		c.log.WithError(err).Warn("no metrics at exit")
	}
	p.stdio.finish()
	if err := c.group.Kill(); err != nil {
		c.log.WithError(err).Warn("processes left in the cgroup not killed")
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if metrics != nil {
		if c.lastStats, err = typeurl.MarshalAnyToProto(metrics); err != nil {
			c.log.WithError(err).Warn("no metrics at exit")
		}
	}
	if err := p.enter(stopped, "ended"); err != nil {
		c.log.WithError(err).Error("exit of a process that had already ended")
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
	c.log.WithField("pid", p.pid).WithField("status", p.exitStatus).Info("exited")
}
