package task

import (
	"fmt"
	"time"

	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// process is one process of a container: the first, which ends the container
// when it ends, or one that Exec has added.
type process struct {
	container *container
	execID    string      // empty for the container's first
	spec      *specs.Spec // the container's, with this process in it
	streams   streams
	// ended is closed once the process is stopped and its TaskExit is queued, or
	// once it is certain that it never runs.
	ended chan struct{}

	// The container's mu guards what follows. The first process has these before
	// the container can be found, and they do not change; another has them from
	// when it is started.
	guest guest
	pid   int
	stdio *stdio

	state      state
	exitStatus uint32
	exitedAt   time.Time
	// size is what ResizePty asked for before there was a terminal.
	size *specs.Box
	// noInput says that CloseIO was called.
	noInput bool
}

func newProcess(c *container, execID string, spec *specs.Spec, s streams) *process {
	return &process{container: c, execID: execID, spec: spec, streams: s, ended: make(chan struct{})}
}

// String names the process in messages.
func (p *process) String() string {
	if p.execID == "" {
		return fmt.Sprintf("container %q", p.container.id)
	}
	return fmt.Sprintf("process %q of container %q", p.execID, p.container.id)
}

// eventID is the id that events give the process: the container's own marks its first.
func (p *process) eventID() string {
	if p.execID == "" {
		return p.container.id
	}
	return p.execID
}

// log is the container's logger, which names the process too.
func (p *process) log() *log.Entry {
	entry := p.container.log
	if p.execID != "" {
		entry = entry.WithField("exec", p.execID)
	}
	return entry
}
