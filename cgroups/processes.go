package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	control "github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// Freeze stops all processes of the group and returns when they stand still,
// which a process in an uninterruptible sleep delays, for ten seconds at most.
func (g *Group) Freeze() error { return g.freeze(control.Frozen) }

// Thaw lets frozen processes go on.
func (g *Group) Thaw() error { return g.freeze(control.Thawed) }

func (g *Group) freeze(state control.FreezerState) error {
	if n := g.none.Load(); n != nil {
		return n.reason
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.manager.Freeze(state)
	if err != nil && state == control.Frozen && !g.v2 {
		err = g.freezeBusy()
	}
	if err != nil {
		return fmt.Errorf("control group %s cannot be %s: %w", g.name, map[control.FreezerState]string{
			control.Frozen: "frozen", control.Thawed: "thawed"}[state], err)
	}
	return nil
}

// freezeBusy freezes a v1 group on a busy machine. A process stands still only
// when it has next had a processor; the manager thaws the group again after a
// millisecond of looking, and gives up after twenty such tries.
func (g *Group) freezeBusy() error {
	dir := g.paths["freezer"]
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if err := control.WriteFile(dir, "freezer.state", string(control.Frozen)); err != nil {
			return err
		}
		state, err := control.ReadFile(dir, "freezer.state")
		if err != nil {
			return err
		}
		if strings.TrimSpace(state) == string(control.Frozen) {
			return g.manager.Freeze(control.Frozen) // which notes it
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("its processes do not stand still within 10 s"),
				control.WriteFile(dir, "freezer.state", string(control.Thawed)))
		}
	}
}

// Pids returns the processes of the group and of the groups below it, in no
// order. A group that is not there has none.
func (g *Group) Pids() ([]int, error) {
	if n := g.none.Load(); n != nil {
		return n.pids(), nil
	}
	pids, err := control.GetAllPids(g.main())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("processes of control group %s: %w", g.name, err)
	}
	return pids, nil
}

// Kill sends SIGKILL to every process of the group, frozen or not, and does not
// wait for them to end. Afterwards a v1 group is thawed, as only that lets them.
func (g *Group) Kill() error {
	if n := g.none.Load(); n != nil {
		return n.kill()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.foreign {
		return nil
	}
	if g.v2 {
		err := control.WriteFile(g.paths[""], "cgroup.kill", "1")
		if err == nil || !g.exists() {
			return nil
		}
		// Kernels before 5.14 have no such file.
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("processes of control group %s cannot be killed: %w", g.name, err)
		}
	}
	// Frozen, processes neither fork nor end, so that none is missed and no pid
	// passes to another process in between. If freezing fails, go over them until
	// none is left.
	for range 10 {
		frozen := g.manager.Freeze(control.Frozen) == nil
		pids, err := g.Pids()
		for _, pid := range pids {
			if pid > 0 { // zero stands for a process of another pid namespace
				if e := unix.Kill(pid, unix.SIGKILL); e != unix.ESRCH {
					err = errors.Join(err, e)
				}
			}
		}
		thawed := g.manager.Freeze(control.Thawed)
		if len(pids) == 0 {
			return err
		}
		if err = errors.Join(err, thawed); err != nil {
			return fmt.Errorf("processes of control group %s cannot be killed: %w", g.name, err)
		}
		if frozen {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("processes of control group %s cannot be killed: they multiply faster", g.name)
}
