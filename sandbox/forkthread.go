package sandbox

import (
	"math"
	"runtime"
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
	forkThread = sync.OnceFunc(func() {
		// Go's own descriptors are closed where a program is executed; what this
		// process was started with may be anything.
		_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
		go serveForks()
	})
)

func serveForks() {
	runtime.LockOSThread()
	// It only saves time: without it the processes do the same for themselves.
	_ = jail.LimitThread()
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
