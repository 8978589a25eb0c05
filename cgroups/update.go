package cgroups

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"

	control "github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Update sets the limits that r asks for and leaves the others as they are. On
// failure, which names the field, all of them are as before. Device rules are
// fixed when the group is made: those in r are not looked at, as engines send
// the whole of a container's resources here.
func (g *Group) Update(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	list, err := asked(r, g.v2)
	if err != nil {
		return err
	}
	to, err := convert(r, g.v2)
	if err != nil {
		return err
	}
	to.SkipDevices = true
	if n := g.none.Load(); n != nil {
		if len(list) == 0 {
			return nil
		}
		return fmt.Errorf("linux.resources.%s: %w", list[0].field, n.reason)
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.exists() {
		return fmt.Errorf("control group %s does not exist", g.name)
	}
	if err := g.present(list); err != nil {
		return err
	}
	if g.v2 {
		if err := g.complete(to); err != nil {
			return err
		}
	}
	former, err := g.save(list)
	if err != nil {
		return g.explain(list, err)
	}
	err = g.set(to)
	if m := r.Memory; err == nil && !g.v2 && m != nil && m.DisableOOMKiller != nil && !*m.DisableOOMKiller {
		// The manager can only disable the OOM killer.
		err = control.WriteFile(g.dir("memory"), "memory.oom_control", "0")
	}
	if err != nil {
		return errors.Join(g.explain(list, err), former.restore())
	}
	return nil
}

// set has the manager set the limits.
func (g *Group) set(to *control.Resources) error {
	if !g.systemd {
		return g.manager.Set(to)
	}
	// A unit's properties cannot be put back from the group's files, and systemd
	// does not say which it refuses, so try the values on the files first.
	config, try := *g.config, *to
	try.SkipDevices = true
	config.Systemd = false
	config.Resources = &try
	files, err := manager.NewWithPaths(&config, maps.Clone(g.paths))
	if err != nil {
		return err
	}
	if err := files.Set(&try); err != nil {
		return err
	}
	if g.v2 && to.MemorySwap > 0 && to.MemorySwap == to.Memory {
		// No swap at all is a zero, which the manager takes for nothing asked: it
		// writes the file but not the unit's property, and systemd then lifts the
		// limit when it next looks at the unit.
		const file = "memory.swap.max"
		if _, err := os.Stat(g.paths[""] + "/" + file); err == nil && to.Unified[file] == "" {
			unified := map[string]string{file: "0"}
			maps.Copy(unified, to.Unified)
			to.Unified = unified
		}
	}
	return g.manager.Set(to)
}

// complete adds the values that share a file, or a meaning, with those of an
// update: on v2 quota and period are one line, and the limit of swap is told
// without memory.
func (g *Group) complete(to *control.Resources) error {
	dir := g.paths[""]
	if (to.CpuQuota == 0) != (to.CpuPeriod == 0) {
		line, err := control.ReadFile(dir, "cpu.max")
		if err != nil {
			return err
		}
		quota, period, _ := strings.Cut(strings.TrimSpace(line), " ")
		if to.CpuPeriod == 0 {
			if to.CpuPeriod, err = strconv.ParseUint(period, 10, 64); err != nil {
				return err
			}
		} else if to.CpuQuota, err = limit(quota); err != nil {
			return err
		}
	}
	if to.MemorySwap > 0 && to.Memory == 0 {
		line, err := control.ReadFile(dir, "memory.max")
		if err != nil {
			return err
		}
		if to.Memory, err = limit(strings.TrimSpace(line)); err != nil {
			return err
		}
	}
	return nil
}

// limit reads a number of cgroup v2, whose "max" the managers call -1.
func limit(s string) (int64, error) {
	if s == "max" {
		return -1, nil
	}
	return strconv.ParseInt(s, 10, 64)
}
