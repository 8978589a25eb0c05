package task

import (
	"fmt"
	"time"
)

// process is one process of a container.
type process struct {
	container *container
	execID    string // empty for the container's first
	guest     guest
	pid       int
	stdio     *stdio
	// ended is closed once the process is stopped and its TaskExit is queued.
	ended chan struct{}

	// The container's mu guards what follows.
	state      state
	exitStatus uint32
	exitedAt   time.Time
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
