package cgroups

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// disk is a block device of the host, or nil.
func disk(t *testing.T) *specs.LinuxThrottleDevice {
	t.Helper()
	devs, err := filepath.Glob("/sys/block/*/dev")
	if err != nil || len(devs) == 0 {
		return nil
	}
	content, err := os.ReadFile(devs[0])
	if err != nil {
		t.Fatal(err)
	}
	var d specs.LinuxThrottleDevice
	if _, err := fmt.Sscanf(string(content), "%d:%d", &d.Major, &d.Minor); err != nil {
		t.Fatal(err)
	}
	return &d
}

// TestLimitsLand sets each limit alone and reads the file that keeps it. Where
// the version, the kernel or the mount cannot do it, the error must say so and
// name the field.
func TestLimitsLand(t *testing.T) {
	type file struct{ controller, name, content string }
	none := file{}
	tests := []struct {
		field  string
		spec   specs.LinuxResources
		v1, v2 file
	}{
		{"memory.limit", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](64 << 20)}},
			file{"memory", "memory.limit_in_bytes", "67108864"}, file{"memory", "memory.max", "67108864"}},
		{"memory.reservation", specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: ptr[int64](32 << 20)}},
			file{"memory", "memory.soft_limit_in_bytes", "33554432"}, file{"memory", "memory.low", "33554432"}},
		{"memory.swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](64 << 20), Swap: ptr[int64](96 << 20)}},
			file{"memory", "memory.memsw.limit_in_bytes", "100663296"}, file{"memory", "memory.swap.max", "33554432"}},
		{"memory.swappiness", specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: ptr[uint64](7)}},
			file{"memory", "memory.swappiness", "7"}, none},
		{"memory.disableOOMKiller", specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(true)}},
			file{"memory", "memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0"}, none},
		{"memory.kernel", specs.LinuxResources{Memory: &specs.LinuxMemory{Kernel: ptr[int64](64 << 20)}}, none, none},
		{"memory.kernelTCP", specs.LinuxResources{Memory: &specs.LinuxMemory{KernelTCP: ptr[int64](64 << 20)}}, none, none},
		{"memory.useHierarchy", specs.LinuxResources{Memory: &specs.LinuxMemory{UseHierarchy: ptr(false)}}, none, none},
		{"cpu.shares", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr[uint64](512)}},
			file{"cpu", "cpu.shares", "512"}, file{"cpu", "cpu.weight", "59"}},
		{"cpu.quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr[int64](20000)}},
			file{"cpu", "cpu.cfs_quota_us", "20000"}, file{"cpu", "cpu.max", "20000 100000"}},
		{"cpu.period", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr[uint64](50000)}},
			file{"cpu", "cpu.cfs_period_us", "50000"}, file{"cpu", "cpu.max", "max 50000"}},
		{"cpu.burst", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr[int64](20000), Burst: ptr[uint64](10000)}},
			file{"cpu", "cpu.cfs_burst_us", "10000"}, file{"cpu", "cpu.max.burst", "10000"}},
		{"cpu.idle", specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr[int64](1)}},
			file{"cpu", "cpu.idle", "1"}, file{"cpu", "cpu.idle", "1"}},
		{"cpu.realtimeRuntime", specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: ptr[int64](1000)}},
			file{"cpu", "cpu.rt_runtime_us", "1000"}, none},
		{"cpu.realtimePeriod", specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimePeriod: ptr[uint64](500000)}},
			file{"cpu", "cpu.rt_period_us", "500000"}, none},
		{"cpu.cpus", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}},
			file{"cpuset", "cpuset.cpus", "0"}, file{"cpuset", "cpuset.cpus", "0"}},
		{"cpu.mems", specs.LinuxResources{CPU: &specs.LinuxCPU{Mems: "0"}},
			file{"cpuset", "cpuset.mems", "0"}, file{"cpuset", "cpuset.mems", "0"}},
		{"pids.limit", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](64)}},
			file{"pids", "pids.max", "64"}, file{"pids", "pids.max", "64"}},
		{"blockIO.leafWeight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{LeafWeight: ptr[uint16](100)}},
			file{"blkio", "blkio.leaf_weight", "100"}, none},
		{"hugepageLimits[2MB]", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}},
			file{"hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304"}, file{"hugetlb", "hugetlb.2MB.max", "4194304"}},
		{"hugepageLimits[3MB]", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 3 << 20}}},
			file{"hugetlb", "hugetlb.3MB.limit_in_bytes", ""}, file{"hugetlb", "hugetlb.3MB.max", ""}},
		{"network.classID", specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr[uint32](7)}},
			file{"net_cls", "net_cls.classid", "7"}, none},
		{"unified[memory.high]", specs.LinuxResources{Unified: map[string]string{"memory.high": "33554432"}},
			none, file{"memory", "memory.high", "33554432"}},
		{"unified[hugetlb.2MB.max]", specs.LinuxResources{Unified: map[string]string{"hugetlb.2MB.max": "4194304"}},
			none, file{"hugetlb", "hugetlb.2MB.max", "4194304"}},
		{"unified[cgroup.max.depth]", specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": "3"}},
			none, file{"cgroup", "cgroup.max.depth", "3"}},
	}
	if d := disk(t); d != nil {
		d.Rate = 1 << 20
		device := fmt.Sprintf("%d:%d", d.Major, d.Minor)
		tests = append(tests, tests[0])
		last := &tests[len(tests)-1]
		last.field = "blockIO.throttleReadBpsDevice"
		last.spec = specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{*d}}}
		last.v1 = file{"blkio", "blkio.throttle.read_bps_device", device + " 1048576"}
		last.v2 = file{"io", "io.max", device + " rbps=1048576 wbps=max riops=max wiops=max"}
	}
	for _, test := range tests {
		t.Run(test.field, func(t *testing.T) {
			want := test.v1
			if unified() {
				want = test.v2
			}
			cfg := Config{ID: "test", Path: path(), Resources: &test.spec}
			field := "linux.resources." + test.field
			if want == none {
				_, err := New(cfg)
				wants(t, err, field, "cgroup v")
				return
			}
			g := groupOf(t, cfg)
			err := g.Add(cast(t, "wait").pid())
			switch {
			case want.controller != "cgroup" && !has(want.controller):
				kind, _, _ := strings.Cut(test.field, ".") // another field of the same controller may come first
				wants(t, err, "linux.resources."+kind, "has no "+want.controller+" controller")
			case missing(g, want.controller, want.name):
				wants(t, err, field, want.name)
			case err != nil:
				t.Fatal(err)
			default:
				if got := g.read(t, want.controller, want.name); got != want.content {
					t.Errorf("%s is %q, want %q", want.name, got, want.content)
				}
			}
		})
	}
}

// missing reports whether the kernel lacks a file in a group that exists.
func missing(g *Group, controller, name string) bool {
	_, err := os.Stat(filepath.Join(g.dir(controller), name))
	return err != nil
}

func TestRefusedValues(t *testing.T) {
	for field, r := range map[string]specs.LinuxResources{
		"memory.swap":    {Memory: &specs.LinuxMemory{Limit: ptr[int64](64 << 20), Swap: ptr[int64](32 << 20)}},
		"blockIO.weight": {BlockIO: &specs.LinuxBlockIO{Weight: ptr[uint16](5)}},
		"hugepageLimits": {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../2MB"}}},
	} {
		_, err := New(Config{ID: "test", Resources: &r})
		wants(t, err, "linux.resources."+field)
	}
	if unified() {
		_, err := New(Config{ID: "test", Resources: &specs.LinuxResources{Unified: map[string]string{"../cgroup.procs": "1"}}})
		wants(t, err, "linux.resources.unified", "../cgroup.procs")
		_, err = New(Config{ID: "test", Resources: &specs.LinuxResources{Unified: map[string]string{"cgroup.procs": "1"}}})
		wants(t, err, "linux.resources.unified[cgroup.procs]", "sets no limit")
	}
	if has("cpuset") { // what only the kernel refuses
		g := group(t, &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "100000"}})
		wants(t, g.Add(cast(t, "wait").pid()), "linux.resources.cpu.cpus", "100000")
	}
}

func TestUpdate(t *testing.T) {
	if !has("cpu") || !has("pids") || !has("memory") {
		g, _ := inhabited(t, nil, "wait")
		wants(t, g.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr[uint64](2)}}), "linux.resources.cpu.shares", "cpu controller")
		return
	}
	g, _ := inhabited(t, &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: ptr[uint64](512), Quota: ptr[int64](20000), Period: ptr[uint64](50000)},
		Memory: &specs.LinuxMemory{Limit: ptr[int64](64 << 20), Swap: ptr[int64](64 << 20)},
		Pids:   &specs.LinuxPids{Limit: ptr[int64](64)},
	}, "wait")
	before := limits(t, g)

	t.Run("one value of a pair", func(t *testing.T) {
		if err := g.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr[int64](30000)}}); err != nil {
			t.Fatal(err)
		}
		want := strings.Replace(before, "20000", "30000", 1)
		if got := limits(t, g); got != want {
			t.Errorf("limits are\n%swant\n%s", got, want)
		}
		if err := g.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr[int64](20000)}}); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("nothing stays of a failed update", func(t *testing.T) {
		all := specs.LinuxResources{
			CPU:    &specs.LinuxCPU{Shares: ptr[uint64](100), Quota: ptr[int64](70000), Period: ptr[uint64](100000)},
			Memory: &specs.LinuxMemory{Limit: ptr[int64](128 << 20), Swap: ptr[int64](256 << 20), Reservation: ptr[int64](1 << 20)},
			Pids:   &specs.LinuxPids{Limit: ptr[int64](32)},
		}
		if d := disk(t); d != nil {
			d.Rate = 1 << 20
			all.BlockIO = &specs.LinuxBlockIO{ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{*d}}
		}
		// Each comes at another place of the managers' order.
		for field, spoil := range map[string]func(*specs.LinuxResources){
			"cpu.quota":  func(r *specs.LinuxResources) { r.CPU.Quota = ptr[int64](1) },
			"cpu.cpus":   func(r *specs.LinuxResources) { r.CPU.Cpus = "100000" },
			"pids.limit": func(r *specs.LinuxResources) { r.Pids.Limit = ptr[int64](1 << 40) },
			"blockIO.throttleReadBpsDevice": func(r *specs.LinuxResources) {
				r.BlockIO = &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{Rate: 1}}}
			},
		} {
			r, cpu, pids := all, *all.CPU, *all.Pids
			r.CPU, r.Pids = &cpu, &pids
			spoil(&r)
			wants(t, g.Update(&r), "linux.resources."+field)
			if got := limits(t, g); got != before {
				t.Errorf("after a wrong %s limits are\n%swant\n%s", field, got, before)
			}
		}
		if err := g.Update(&all); err != nil {
			t.Fatal(err)
		}
		if limits(t, g) == before {
			t.Error("a good update changes nothing")
		}
	})
}

// limits is a picture of what an update in these tests may change.
func limits(t *testing.T, g *Group) string {
	t.Helper()
	files := []struct{ controller, names string }{
		{"cpu", "cpu.shares cpu.cfs_quota_us cpu.cfs_period_us"},
		{"memory", "memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes"},
		{"pids", "pids.max"},
		{"cpuset", "cpuset.cpus"},
		{"blkio", "blkio.throttle.read_bps_device blkio.throttle.write_iops_device"},
	}
	if unified() {
		files = []struct{ controller, names string }{{"", "cpu.weight cpu.max memory.max memory.swap.max memory.low pids.max cpuset.cpus io.max"}}
	}
	var b strings.Builder
	for _, f := range files {
		for _, name := range strings.Fields(f.names) {
			if missing(g, f.controller, name) {
				continue // a kernel without swap
			}
			fmt.Fprintf(&b, "%s: %s\n", name, g.read(t, f.controller, name))
		}
	}
	return b.String()
}

func TestUpdateOOMKiller(t *testing.T) {
	off := &specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(true)}}
	on := &specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(false)}}
	g, _ := inhabited(t, on, "wait")
	if unified() { // which cannot disable it
		wants(t, g.Update(off), "linux.resources.memory.disableOOMKiller")
		if err := g.Update(on); err != nil {
			t.Error(err)
		}
		return
	}
	for _, step := range []struct {
		spec *specs.LinuxResources
		want string
	}{{off, "oom_kill_disable 1"}, {on, "oom_kill_disable 0"}} {
		if err := g.Update(step.spec); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := strings.Cut(g.read(t, "memory", "memory.oom_control"), "\n"); got != step.want {
			t.Errorf("memory.oom_control says %q, want %q", got, step.want)
		}
	}
}
