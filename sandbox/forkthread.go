package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"golang.org/x/sys/unix"
)

// All sandbox processes are started by one operating-system thread that never
// ends. It must not end, because a parent-death signal is sent when the thread
// that forked ends, not the process. And it must be one that nothing else runs
// on, because it joins a container's namespaces for the moment of the fork.
var (
	forkJobs   = make(chan func() (fit bool))
	forkThread = sync.OnceFunc(func() { go serveForks() })
)

func serveForks() {
	runtime.LockOSThread()
	for job := range forkJobs {
		if !job() {
			// The thread is stuck in a container's namespaces. It stays, for the
			// sake of the processes it has started, and another takes its place.
			go serveForks()
			select {}
		}
	}
}

// onForkThread runs fork on the fork thread, which is in the given namespaces
// meanwhile, and returns its error or that of joining them.
func onForkThread(join namespaces, fork func() error) (err error) {
	forkThread()
	done := make(chan struct{})
	forkJobs <- func() (fit bool) {
		defer close(done)
		back, err2 := join.enter()
		if err2 == nil {
			err2 = fork()
		}
		err = err2
		return back()
	}
	<-done
	return err
}

// namespaces are open namespaces to join, in an order in which setns allows it.
type namespaces []namespace

type namespace struct {
	jail.Join
	file *os.File
}

func openNamespaces(joins []jail.Join) (opened namespaces, err error) {
	for _, join := range joins {
		file, err := os.Open(join.Path)
		if err != nil {
			opened.close()
			return nil, fmt.Errorf("linux.namespaces[%s]: %w", join.Type, err)
		}
		opened = append(opened, namespace{join, file})
	}
	return opened, nil
}

// take removes the namespace of the given kind and hands it to the caller.
func (n *namespaces) take(flag int) (namespace, bool) {
	i := slices.IndexFunc(*n, func(ns namespace) bool { return ns.Flag == flag })
	if i < 0 {
		return namespace{}, false
	}
	taken := (*n)[i]
	*n = slices.Delete(*n, i, i+1)
	return taken, true
}

func (n namespaces) close() {
	for _, ns := range n {
		ns.file.Close()
	}
}

// ownNames are the files of a thread's own namespaces, below /proc/thread-self/ns.
var ownNames = map[int]string{
	unix.CLONE_NEWNET: "net", unix.CLONE_NEWIPC: "ipc", unix.CLONE_NEWUTS: "uts",
	unix.CLONE_NEWCGROUP: "cgroup", unix.CLONE_NEWPID: "pid",
}

// enter joins the namespaces one by one. The function it returns, which is to
// be called in any case, goes back to the thread's own; it returns false where
// it could not.
func (n namespaces) enter() (back func() bool, err error) {
	var own namespaces
	back = func() bool {
		defer own.close()
		fit := true
		for i := len(own) - 1; i >= 0; i-- {
			fit = unix.Setns(int(own[i].file.Fd()), own[i].Flag) == nil && fit
		}
		return fit
	}
	for _, ns := range n {
		file, err := os.Open("/proc/thread-self/ns/" + ownNames[ns.Flag])
		if err != nil {
			return back, fmt.Errorf("linux.namespaces[%s]: %w", ns.Type, err)
		}
		if err := unix.Setns(int(ns.file.Fd()), ns.Flag); err != nil {
			file.Close()
			return back, fmt.Errorf("linux.namespaces[%s]: joining %s: %w", ns.Type, ns.Path, err)
		}
		own = append(own, namespace{ns.Join, file})
	}
	return back, nil
}
