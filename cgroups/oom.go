package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	control "github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fscommon"
	"golang.org/x/sys/unix"
)

// OOMKills returns how many processes of the group the kernel's out-of-memory
// killer has ended, on v2 those of groups below it too. It is zero where there is
// no memory controller. When the group is gone it is what was last seen: systemd
// removes a scope soon after its last process has ended, and a v2 kernel may wake
// a watch too late, so ask as soon as the container's process is reaped. The
// watch then learns of it too.
func (g *Group) OOMKills() (uint64, error) {
	dir := g.dir("memory")
	if dir == "" {
		return 0, nil
	}
	n, err := fscommon.GetValueByKey(dir, g.oomFile(), "oom_kill")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return g.oomKills.Load(), nil
	}
	if err != nil {
		return 0, fmt.Errorf("out-of-memory kills of control group %s: %w", g.name, err)
	}
	g.oomKills.Store(n)
	return n, nil
}

// oomFile is the file of the memory controller that counts kills as oom_kill.
func (g *Group) oomFile() string {
	if g.v2 {
		return "memory.events"
	}
	return "memory.oom_control"
}

// WatchOOM calls f when the out-of-memory killer has ended a process of the
// group, those before the call included; kills in quick succession may be one
// call. It returns at once: f is called from a goroutine that ends with ctx or
// with the group, after a call under way. Where the group has no memory
// controller there is nothing to watch. The group must exist, or it is ErrNoGroup.
func (g *Group) WatchOOM(ctx context.Context, f func()) error {
	if n := g.none.Load(); n != nil {
		return n.reason
	}
	dir := g.dir("memory")
	if dir == "" {
		return nil
	}
	open := oomEventfd
	if g.v2 {
		open = oomInotify
	}
	events, err := open(dir, g.oomFile())
	if errors.Is(err, fs.ErrNotExist) && g.exists() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("out-of-memory events of control group %s: %w", g.name, err)
	}
	stop := context.AfterFunc(ctx, func() { events.Close() })
	go func() {
		defer events.Close()
		defer stop()
		var seen uint64
		buf := make([]byte, 4096)
		for ctx.Err() == nil {
			kills, err := g.OOMKills()
			if err == nil && kills > seen {
				seen = kills
				f()
			}
			if !g.exists() {
				return
			}
			if _, err := events.Read(buf); err != nil {
				return
			}
			if !g.v2 {
				g.awaitKill(ctx, seen)
			}
		}
	}()
	return nil
}

// awaitKill waits until a kill is counted, some seconds at most. A v1 kernel tells
// of running out of memory before it chooses whom to kill, if anybody: the event
// also goes to groups below the one that ran out, and to those whose killer is
// disabled.
func (g *Group) awaitKill(ctx context.Context, seen uint64) {
	for wait := time.Millisecond; wait < time.Second && ctx.Err() == nil; wait += wait / 2 {
		if kills, err := g.OOMKills(); err != nil || kills > seen || !g.exists() {
			return
		}
		time.Sleep(wait)
	}
}

// oomEventfd opens an event counter that v1's memory controller raises when the
// group runs out of memory or is removed; kernel's cgroup-v1/memory.rst, section 10.
func oomEventfd(dir, name string) (*os.File, error) {
	oom, err := control.OpenFile(dir, name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer oom.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	events := os.NewFile(uintptr(fd), "eventfd")
	if err := control.WriteFile(dir, "cgroup.event_control", fmt.Sprintf("%d %d", fd, oom.Fd())); err != nil {
		events.Close()
		return nil, err
	}
	return events, nil
}

// oomInotify opens a watch of v2's memory.events, which changes with each kill.
func oomInotify(dir, name string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir+"/"+name, unix.IN_MODIFY|unix.IN_DELETE_SELF); err != nil {
		events.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return events, nil
}
