package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	control "github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// setting is one asked field of linux.resources and where the kernel keeps it.
// What is possible, which controller is missing, which field a failed write
// belongs to and what an update must restore: all are read from it.
type setting struct {
	field string // below linux.resources
	place
}

// place is where one cgroup version keeps a setting.
type place struct {
	controller string
	// files of the group's directory that setting it may change. The first is its
	// own; kernels have at least one of them, unless optional.
	files    []string
	optional bool
}

func at(controller string, files ...string) place {
	return place{controller: controller, files: files}
}

// nowhere is the place of what a cgroup version cannot do.
var nowhere = place{}

// asked lists the settings that r asks for. As for runc, a number that is nil or
// zero asks for nothing. The error names the first field that the cgroup version
// cannot honour.
func asked(r *specs.LinuxResources, v2 bool) ([]setting, error) {
	var list []setting
	var err error
	add := func(asked bool, field string, one, two place) {
		if !asked || err != nil {
			return
		}
		p, version := one, "v1"
		if v2 {
			p, version = two, "v2"
		}
		if p.controller == "" {
			err = fmt.Errorf("linux.resources.%s: cgroup %s, which this host uses, cannot do this; leave the field out", field, version)
			return
		}
		list = append(list, setting{field, p})
	}
	if m := r.Memory; m != nil {
		memory(m, v2, add)
	}
	if c := r.CPU; c != nil {
		add(some(c.Shares), "cpu.shares", at("cpu", "cpu.shares"), at("cpu", "cpu.weight"))
		add(some(c.Quota), "cpu.quota", at("cpu", "cpu.cfs_quota_us"), at("cpu", "cpu.max"))
		add(some(c.Period), "cpu.period", at("cpu", "cpu.cfs_period_us"), at("cpu", "cpu.max"))
		add(c.Burst != nil, "cpu.burst", at("cpu", "cpu.cfs_burst_us"), at("cpu", "cpu.max.burst"))
		add(some(c.RealtimePeriod), "cpu.realtimePeriod", at("cpu", "cpu.rt_period_us"), nowhere)
		add(some(c.RealtimeRuntime), "cpu.realtimeRuntime", at("cpu", "cpu.rt_runtime_us"), nowhere)
		add(c.Idle != nil, "cpu.idle", at("cpu", "cpu.idle", "cpu.shares"), at("cpu", "cpu.idle", "cpu.weight"))
		add(c.Cpus != "", "cpu.cpus", at("cpuset", "cpuset.cpus", "cpus"), at("cpuset", "cpuset.cpus"))
		add(c.Mems != "", "cpu.mems", at("cpuset", "cpuset.mems", "mems"), at("cpuset", "cpuset.mems"))
	}
	if p := r.Pids; p != nil {
		add(p.Limit != nil, "pids.limit", at("pids", "pids.max"), at("pids", "pids.max"))
	}
	if b := r.BlockIO; b != nil {
		blockIO(b, add)
	}
	for _, h := range r.HugepageLimits {
		if err == nil && !isName(h.Pagesize) {
			err = fmt.Errorf("linux.resources.hugepageLimits: %q is no page size; give one such as 2MB", h.Pagesize)
		}
		file := "hugetlb." + h.Pagesize
		add(true, "hugepageLimits["+h.Pagesize+"]",
			at("hugetlb", file+".limit_in_bytes", file+".rsvd.limit_in_bytes"),
			at("hugetlb", file+".max", file+".rsvd.max"))
	}
	if n := r.Network; n != nil {
		add(some(n.ClassID), "network.classID", at("net_cls", "net_cls.classid"), nowhere)
		add(len(n.Priorities) > 0, "network.priorities", at("net_prio", "net_prio.ifpriomap"), nowhere)
	}
	add(len(r.Rdma) > 0, "rdma", at("rdma", "rdma.max"), at("rdma", "rdma.max"))
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		if err == nil {
			err = checkUnified(file)
		}
		controller, _, _ := strings.Cut(file, ".")
		add(true, "unified["+file+"]", nowhere, at(controller, file))
	}
	return list, err
}

// defaultShares is the cpu.shares that every new group has, and with cgroup v2 the
// weight that it stands for.
const defaultShares = 1024

// withoutDefaults leaves out of what a new group shall have what it has anyway:
// ctr always names the shares, and so would ask for a controller that may not be
// there. nil asks for nothing.
func withoutDefaults(r *specs.LinuxResources) *specs.LinuxResources {
	if r == nil {
		return &specs.LinuxResources{}
	}
	if r.CPU == nil || value(r.CPU.Shares) != defaultShares {
		return r
	}
	resources, cpu := *r, *r.CPU
	cpu.Shares, resources.CPU = nil, &cpu
	return &resources
}

// checkUnified refuses what is no file of a group, and of the core's files
// (kernel's cgroup-v2.rst, "Core Interface Files") those that set no limit:
// cgroup.procs, for one, would take a process of the host in.
func checkUnified(file string) error {
	controller, _, dotted := strings.Cut(file, ".")
	switch {
	case !dotted || controller == "" || !isName(file):
		return fmt.Errorf("linux.resources.unified: %q is no file of a control group; give one such as memory.high", file)
	case controller == "cgroup" && !strings.HasPrefix(file, "cgroup.max."):
		return fmt.Errorf("linux.resources.unified[%s]: sets no limit, and belongs to the runtime", file)
	}
	return nil
}

// isName says whether s can be a part of a file's name in a group.
func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

type adder = func(asked bool, field string, v1, v2 place)

func memory(m *specs.LinuxMemory, v2 bool, add adder) {
	const swap1, swap2 = "memory.memsw.limit_in_bytes", "memory.swap.max"
	// Lifting the memory limit lifts that of swap too.
	add(some(m.Limit), "memory.limit", at("memory", "memory.limit_in_bytes", swap1), at("memory", "memory.max", swap2))
	// Without swap in the kernel, none at all is still a limit that holds.
	add(some(m.Swap), "memory.swap", at("memory", swap1), place{"memory", []string{swap2}, true})
	add(some(m.Reservation), "memory.reservation", at("memory", "memory.soft_limit_in_bytes"), at("memory", "memory.low"))
	// -1 is how engines say "unset" here, in an unsigned field.
	add(m.Swappiness != nil && int64(*m.Swappiness) != -1, "memory.swappiness", at("memory", "memory.swappiness"), nowhere)
	add(m.DisableOOMKiller != nil && (*m.DisableOOMKiller || !v2), "memory.disableOOMKiller", at("memory", "memory.oom_control"), nowhere)
	// Kernels since 5.16 refuse limits of kernel memory, and since 5.11 always
	// account hierarchically.
	add(m.Kernel != nil && *m.Kernel > 0, "memory.kernel", nowhere, nowhere)
	add(m.KernelTCP != nil && *m.KernelTCP > 0, "memory.kernelTCP", nowhere, nowhere)
	add(m.UseHierarchy != nil && !*m.UseHierarchy, "memory.useHierarchy", nowhere, nowhere)
}

func blockIO(b *specs.LinuxBlockIO, add adder) {
	add(some(b.Weight), "blockIO.weight", at("blkio", "blkio.weight", "blkio.bfq.weight"), at("io", "io.weight", "io.bfq.weight"))
	add(some(b.LeafWeight), "blockIO.leafWeight", at("blkio", "blkio.leaf_weight"), nowhere)
	leaf := slices.ContainsFunc(b.WeightDevice, func(d specs.LinuxWeightDevice) bool { return some(d.LeafWeight) })
	add(len(b.WeightDevice) > 0, "blockIO.weightDevice", at("blkio", "blkio.weight_device", "blkio.bfq.weight_device"), at("io", "io.bfq.weight"))
	add(leaf, "blockIO.weightDevice[].leafWeight", at("blkio", "blkio.leaf_weight_device"), nowhere)
	for _, t := range []struct {
		devices     []specs.LinuxThrottleDevice
		field, file string
	}{
		{b.ThrottleReadBpsDevice, "throttleReadBpsDevice", "read_bps_device"},
		{b.ThrottleWriteBpsDevice, "throttleWriteBpsDevice", "write_bps_device"},
		{b.ThrottleReadIOPSDevice, "throttleReadIOPSDevice", "read_iops_device"},
		{b.ThrottleWriteIOPSDevice, "throttleWriteIOPSDevice", "write_iops_device"},
	} {
		add(len(t.devices) > 0, "blockIO."+t.field, at("blkio", "blkio.throttle."+t.file), at("io", "io.max"))
	}
}

// some reports whether a number of the spec asks for something.
func some[T int64 | uint64 | uint32 | uint16](p *T) bool { return p != nil && *p != 0 }

// present fails, naming field and controller, where the group lacks what a
// setting needs. The group must exist.
func (g *Group) present(list []setting) error {
	if len(list) == 0 {
		return nil
	}
	var enabled []string
	if g.v2 {
		content, err := control.ReadFile(g.paths[""], "cgroup.controllers")
		if err != nil {
			return fmt.Errorf("control group %s: %w", g.name, err)
		}
		enabled = strings.Fields(content)
	}
	for _, s := range list {
		dir := g.dir(s.controller)
		if dir == "" || g.v2 && s.controller != "cgroup" && !slices.Contains(enabled, s.controller) {
			return fmt.Errorf("linux.resources.%s: control group %s has no %s controller; mount or delegate it, or leave the field out", s.field, g.name, s.controller)
		}
		has := func(file string) bool {
			f, err := control.OpenFile(dir, file, 0)
			if err == nil {
				f.Close()
			}
			return !errors.Is(err, fs.ErrNotExist)
		}
		if !s.optional && !slices.ContainsFunc(s.files, has) {
			return fmt.Errorf("linux.resources.%s: the kernel's %s controller has no %s; leave the field out", s.field, s.controller, strings.Join(s.files, " or "))
		}
	}
	return nil
}

// explain names the fields of the spec whose file an error is about; v2 keeps
// some of them in one.
func (g *Group) explain(list []setting, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		file := filepath.Base(path.Path)
		var fields []string
		for _, s := range list {
			if s.files[0] == file {
				fields = append(fields, s.field)
			}
		}
		for _, s := range list {
			if len(fields) == 0 && slices.Contains(s.files, file) {
				fields = append(fields, s.field)
			}
		}
		if len(fields) > 0 {
			return fmt.Errorf("linux.resources.%s: %w", strings.Join(fields, " and "), err)
		}
	}
	return fmt.Errorf("control group %s: %w", g.name, err)
}
