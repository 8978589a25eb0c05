package task

import (
	"fmt"
	"slices"

	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
)

// state is where a process is in its life.
type state int

const (
	created  state = iota // blocked, its module loaded; not there at all if added by Exec
	starting              // added by Exec, and its module is being loaded
	running               // the module's entry function runs
	pausing               // being frozen
	paused                // frozen
	resuming              // being thawed
	stopped               // exited and reaped
	deleting              // what it held is being given back
	deleted               // unknown to everybody but those who still hold it
)

func (s state) String() string {
	return [...]string{"created", "being started", "running", "pausing", "paused", "resuming", "stopped", "being deleted", "deleted"}[s]
}

// status is the state as containerd knows it.
func (s state) status() task.Status {
	return [...]task.Status{
		created:  task.Status_CREATED,
		starting: task.Status_CREATED,
		running:  task.Status_RUNNING,
		pausing:  task.Status_PAUSING,
		paused:   task.Status_PAUSED,
		resuming: task.Status_PAUSED,
		stopped:  task.Status_STOPPED,
		deleting: task.Status_STOPPED,
		deleted:  task.Status_STOPPED,
	}[s]
}

// alive reports whether there is a process, as far as is known.
func (s state) alive() bool { return s < stopped }

// successors has, for every state, those that may follow it. A pause or a
// deletion that fails leads back. Only a container's first process is paused,
// and with it all others; only others are ever starting, or deleted unstarted.
var successors = map[state][]state{
	created:  {starting, running, stopped, deleting},
	starting: {running, stopped},
	running:  {pausing, stopped},
	pausing:  {paused, running, stopped},
	paused:   {resuming, stopped},
	resuming: {running, paused, stopped},
	stopped:  {deleting},
	deleting: {deleted, stopped},
}

// enter is the one place where the state of a process changes. done says what
// was wanted, for the error: "started", "paused". The container's lock is held.
func (p *process) enter(next state, done string) error {
	if !slices.Contains(successors[p.state], next) {
		return p.refuse(done)
	}
	p.state = next
	return nil
}

// refuse returns the error of a call that cannot be in the state p is in. The
// container's lock is held.
func (p *process) refuse(done string) error {
	if p.state == deleted {
		return fmt.Errorf("%s has been deleted: %w", p, errdefs.ErrNotFound)
	}
	if p.state == stopped {
		return fmt.Errorf("%s cannot be %s: it has ended, with exit code %d: %w", p, done, p.exitStatus, errdefs.ErrFailedPrecondition)
	}
	return fmt.Errorf("%s cannot be %s: it is %s: %w", p, done, p.state, errdefs.ErrFailedPrecondition)
}
