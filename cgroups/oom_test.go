package cgroups

import (
	"context"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestOOM(t *testing.T) {
	if !has("memory") {
		g, _ := inhabited(t, nil, "wait")
		if err := g.WatchOOM(t.Context(), func() { t.Error("called") }); err != nil {
			t.Errorf("watch without a memory controller: %v", err)
		}
		if n, err := g.OOMKills(); n != 0 || err != nil {
			t.Errorf("%d kills, %v", n, err)
		}
		return
	}
	small := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](32 << 20), Swap: ptr[int64](32 << 20)}}
	g, hog := inhabited(t, small, "hog")
	if scopes {
		// Without another process systemd may remove the scope before anybody has
		// read of the kill.
		if err := g.Join(cast(t, "wait").pid()); err != nil {
			t.Fatal(err)
		}
	}
	other, _ := inhabited(t, small, "wait")
	told := make(chan struct{}, 16)
	if err := g.WatchOOM(t.Context(), func() { told <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := other.WatchOOM(t.Context(), func() { t.Error("told of the kill in another group") }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-told:
		t.Fatal("told before anything happened")
	case <-time.After(50 * time.Millisecond):
	}
	hog.begin(t)
	hog.killed(t)
	if n, err := g.OOMKills(); n != 1 || err != nil {
		t.Errorf("%d kills, %v; want 1", n, err)
	}
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Fatal("not told of the kill")
	}
	if n, err := other.OOMKills(); n != 0 || err != nil {
		t.Errorf("%d kills, %v in the other group", n, err)
	}
	if scopes {
		return // systemd has removed the empty scope
	}
	// One who comes late is told too, and only once.
	ctx, cancel := context.WithCancel(t.Context())
	late := make(chan struct{}, 16)
	if err := g.WatchOOM(ctx, func() { late <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-late:
	case <-time.After(20 * time.Second):
		t.Fatal("not told of an earlier kill")
	}
	cancel()
	if err := g.Delete(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-late:
		t.Error("told twice")
	case <-told:
		t.Error("told of the removal")
	case <-time.After(100 * time.Millisecond):
	}
}
