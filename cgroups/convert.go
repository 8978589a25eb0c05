package cgroups

import (
	"fmt"

	control "github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// convert turns what r asks for into the manager's terms. asked must have
// accepted r. Device rules are not among it: see deviceRules.
func convert(r *specs.LinuxResources, v2 bool) (*control.Resources, error) {
	c := &control.Resources{}
	if m := r.Memory; m != nil {
		c.Memory = value(m.Limit)
		c.MemorySwap = value(m.Swap)
		c.MemoryReservation = value(m.Reservation)
		c.MemorySwappiness = m.Swappiness
		c.OomKillDisable = value(m.DisableOOMKiller)
		c.MemoryCheckBeforeUpdate = value(m.CheckBeforeUpdate)
		if c.Memory > 0 && c.MemorySwap > 0 && c.MemorySwap < c.Memory {
			return nil, fmt.Errorf("linux.resources.memory.swap: %d is less than memory.limit, %d; it limits the sum of memory and swap", c.MemorySwap, c.Memory)
		}
	}
	if p := r.CPU; p != nil {
		c.CpuShares = value(p.Shares)
		if v2 {
			c.CpuWeight = control.ConvertCPUSharesToCgroupV2Value(c.CpuShares)
		}
		c.CpuQuota = value(p.Quota)
		c.CpuPeriod = value(p.Period)
		c.CpuBurst = p.Burst
		c.CpuRtRuntime = value(p.RealtimeRuntime)
		c.CpuRtPeriod = value(p.RealtimePeriod)
		c.CpusetCpus = p.Cpus
		c.CpusetMems = p.Mems
		c.CPUIdle = p.Idle
	}
	if r.Pids != nil {
		c.PidsLimit = r.Pids.Limit
	}
	if r.BlockIO != nil {
		if err := convertBlockIO(c, r.BlockIO); err != nil {
			return nil, err
		}
	}
	for _, h := range r.HugepageLimits {
		c.HugetlbLimit = append(c.HugetlbLimit, &control.HugepageLimit{Pagesize: h.Pagesize, Limit: h.Limit})
	}
	if n := r.Network; n != nil {
		c.NetClsClassid = value(n.ClassID)
		for _, p := range n.Priorities {
			c.NetPrioIfpriomap = append(c.NetPrioIfpriomap, &control.IfPrioMap{Interface: p.Name, Priority: int64(p.Priority)})
		}
	}
	for device, limit := range r.Rdma {
		if c.Rdma == nil {
			c.Rdma = make(map[string]control.LinuxRdma)
		}
		c.Rdma[device] = control.LinuxRdma{HcaHandles: limit.HcaHandles, HcaObjects: limit.HcaObjects}
	}
	if len(r.Unified) > 0 { // the v1 manager refuses even an empty map
		c.Unified = r.Unified
	}
	return c, nil
}

func convertBlockIO(c *control.Resources, b *specs.LinuxBlockIO) error {
	var err error
	weight := func(field string, w *uint16) uint16 {
		if some(w) && (*w < 10 || *w > 1000) && err == nil {
			err = fmt.Errorf("linux.resources.blockIO.%s: %d is not between 10 and 1000", field, *w)
		}
		return value(w)
	}
	c.BlkioWeight = weight("weight", b.Weight)
	c.BlkioLeafWeight = weight("leafWeight", b.LeafWeight)
	for _, d := range b.WeightDevice {
		c.BlkioWeightDevice = append(c.BlkioWeightDevice, control.NewWeightDevice(d.Major, d.Minor,
			weight("weightDevice[].weight", d.Weight), weight("weightDevice[].leafWeight", d.LeafWeight)))
	}
	throttle := func(devices []specs.LinuxThrottleDevice) (list []*control.ThrottleDevice) {
		for _, d := range devices {
			list = append(list, control.NewThrottleDevice(d.Major, d.Minor, d.Rate))
		}
		return list
	}
	c.BlkioThrottleReadBpsDevice = throttle(b.ThrottleReadBpsDevice)
	c.BlkioThrottleWriteBpsDevice = throttle(b.ThrottleWriteBpsDevice)
	c.BlkioThrottleReadIOPSDevice = throttle(b.ThrottleReadIOPSDevice)
	c.BlkioThrottleWriteIOPSDevice = throttle(b.ThrottleWriteIOPSDevice)
	return err
}

// value is what p points to, or zero, which asks for nothing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
