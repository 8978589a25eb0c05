package bootstrap

import (
	"testing"
	"time"
)

// TestThrift has memory given back after what makes containers, and not after
// what looks at them.
func TestThrift(t *testing.T) {
	given := make(chan struct{}, 1)
	th := thrift{time.AfterFunc(time.Hour, func() { given <- struct{}{} })}
	defer th.timer.Stop()
	for _, call := range []string{"State", "Stats", "Wait", "Connect", "SandboxStatus"} {
		th.called(call)
	}
	select {
	case <-given:
		t.Error("memory is given back though nothing was made")
	case <-time.After(quiet + quiet/2):
	}
	th.called("Start")
	select {
	case <-given:
	case <-time.After(10 * quiet):
		t.Error("memory is not given back")
	}
}
