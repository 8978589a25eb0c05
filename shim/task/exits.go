package task

import (
	"sync"

	runc "github.com/containerd/go-runc"
)

// exits hands the exit of every child to whom it concerns. A child may end
// before its parent knows its pid, so exits are also kept for the launches
// that are under way when they arrive; exits of no concern are dropped.
type exits struct {
	mu sync.Mutex
	// waiting has, per pid, the channels of those who claimed it, the oldest
	// first: the kernel may give a pid anew as soon as it is reaped, which is a
	// moment before its exit is delivered here.
	waiting  map[int][]chan runc.Exit
	launches map[*launch]struct{}
}

// launch is the time from before a fork until its pid is claimed.
type launch struct {
	exits *exits
	early map[int]runc.Exit
}

func newExits() *exits {
	return &exits{waiting: make(map[int][]chan runc.Exit), launches: make(map[*launch]struct{})}
}

// begin starts a launch; its end must be called.
func (e *exits) begin() *launch {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := &launch{exits: e, early: make(map[int]runc.Exit)}
	e.launches[l] = struct{}{}
	return l
}

// claim returns a channel on which the exit of the launched process arrives; the
// channel is closed after it, for those who only want to know that it came.
func (l *launch) claim(pid int) <-chan runc.Exit {
	e := l.exits
	e.mu.Lock()
	defer e.mu.Unlock()
	exited := make(chan runc.Exit, 1)
	if exit, ok := l.early[pid]; ok {
		for other := range e.launches {
			delete(other.early, pid)
		}
		exited <- exit
		close(exited)
	} else {
		e.waiting[pid] = append(e.waiting[pid], exited)
	}
	return exited
}

// Watch is begin, claim and end for package pod.
func (e *exits) Watch() (claim func(pid int) <-chan runc.Exit, end func()) {
	l := e.begin()
	return l.claim, l.end
}

func (l *launch) end() {
	l.exits.mu.Lock()
	defer l.exits.mu.Unlock()
	delete(l.exits.launches, l)
}

func (e *exits) deliver(exit runc.Exit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if waiting := e.waiting[exit.Pid]; len(waiting) > 0 {
		waiting[0] <- exit
		close(waiting[0])
		if len(waiting) == 1 {
			delete(e.waiting, exit.Pid)
		} else {
			e.waiting[exit.Pid] = waiting[1:]
		}
		return
	}
	for l := range e.launches {
		l.early[exit.Pid] = exit
	}
}
