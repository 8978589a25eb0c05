package cgroups

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	devices "github.com/opencontainers/cgroups/devices/config"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/arbitrary"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/sentence"
)

// FuzzResources translates linux.resources for both versions. Nothing that is
// accepted leads out of the group's own directory, and no device is let through
// that the spec does not name.
func FuzzResources(f *testing.F) {
	for _, resources := range []string{
		`{}`,
		`{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}],"cpu":{"shares":1024}}`,
		`{"memory":{"limit":67108864,"swap":67108864,"reservation":1,"swappiness":7,"disableOOMKiller":true},"pids":{"limit":7}}`,
		`{"cpu":{"shares":2,"quota":-1,"period":100000,"burst":1,"realtimeRuntime":1,"cpus":"0-3","mems":"0","idle":1}}`,
		`{"blockIO":{"weight":5,"leafWeight":2000,"weightDevice":[{"major":8,"minor":0,"weight":1}],"throttleReadBpsDevice":[{"major":8,"rate":1}]}}`,
		`{"hugepageLimits":[{"pageSize":"2MB","limit":1},{"pageSize":"../2MB","limit":1},{"pageSize":"\n","limit":1}]}`,
		`{"unified":{"memory.high":"1","../cgroup.procs":"1","cgroup.procs":"1","a\nb.c":"1"},"rdma":{"mlx\n":{"hcaHandles":1}}}`,
		`{"network":{"classID":1,"priorities":[{"name":"lo","priority":1}]},"devices":[{"type":"x\n","access":"rwmx"}]}`,
	} {
		f.Add([]byte(resources), []byte{})
		f.Add([]byte(resources), []byte("\x01\x02\x00\x03\x04and so on"))
	}
	words := []string{"2MB", "1GB", "memory.high", "cgroup.procs", "cgroup.max.depth", "io.max", "../x.y", "/", ".", "\n", "rwm", "rw", "m", "a", "b", "c", "u", "lo", "0", "max"}
	f.Fuzz(func(t *testing.T, text, changes []byte) {
		var r specs.LinuxResources
		if json.Unmarshal(text, &r) != nil {
			return
		}
		arbitrary.Change(&r, changes, words...)
		for _, v2 := range []bool{false, true} {
			settings, err := asked(&r, v2)
			if err == nil {
				_, err = convert(&r, v2)
			}
			if err != nil {
				sentence.Check(t, err, "linux.resources.")
				continue
			}
			for _, s := range settings {
				if s.controller == "" || len(s.files) == 0 {
					t.Errorf("cgroup v2 %v: %s is kept nowhere", v2, s.field)
				}
				for _, file := range s.files {
					if file != filepath.Base(file) || !strings.Contains(file, ".") && s.controller != "cpuset" {
						t.Errorf("cgroup v2 %v: %s is kept in %q", v2, s.field, file)
					}
					if file == "cgroup.procs" || file == "cgroup.threads" || file == "cgroup.kill" {
						t.Errorf("%s would move or end processes", s.field)
					}
				}
			}
		}
		rules, err := deviceRules(r.Devices)
		if err != nil {
			sentence.Check(t, err, "linux.resources.devices[")
			return
		}
		checkRules(t, rules, r.Devices)
	})
}

// checkRules looks for rules that allow more than the spec does.
func checkRules(t *testing.T, rules []*devices.Rule, spec []specs.LinuxDeviceCgroup) {
	if first := rules[0]; first.Allow || first.Type != devices.WildcardDevice {
		t.Errorf("the first rule is %+v and forbids not everything", first)
	}
	for _, rule := range rules[1 : len(rules)-len(everyContainer)] {
		if !slices.ContainsFunc(spec, func(d specs.LinuxDeviceCgroup) bool {
			same := func(ours int64, theirs *int64) bool {
				return theirs == nil && ours == devices.Wildcard || theirs != nil && ours == *theirs
			}
			kind := d.Type == string(rule.Type) || d.Type == "" || d.Type == "a" || d.Type == "u" && rule.Type == devices.CharDevice
			return d.Allow == rule.Allow && kind && same(rule.Major, d.Major) && same(rule.Minor, d.Minor) &&
				!strings.ContainsFunc(string(rule.Permissions), func(p rune) bool { return !strings.ContainsRune(d.Access, p) })
		}) {
			t.Errorf("no rule of the spec's is behind %+v", rule)
		}
	}
}

// FuzzPath locates groups. Wherever linux.cgroupsPath points, the group is one
// below the hierarchies' roots, and the same each time.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"", "/default/c1", "relative/c1", "/", "..", "/../../etc", "a//b/./c", "/a/..", "slice:prefix:name", "::", "a:b:c/d", "/a\x00b", "/a\nb", strings.Repeat("/a", 3000)} {
		f.Add(path, "c1", false)
		f.Add(path, "c1", true)
	}
	f.Add("", "../..", false)
	f.Add("", "a/b\n", false)
	f.Fuzz(func(t *testing.T, path, id string, systemd bool) {
		g, err := New(Config{ID: id, Path: path, Systemd: systemd})
		if err != nil {
			sentence.Check(t, err, "linux.cgroupsPath ")
			return
		}
		if !filepath.IsAbs(g.name) || g.name == "/" || g.name != filepath.Clean(g.name) {
			t.Errorf("the group is %q", g.name)
		}
		for controller, dir := range g.paths {
			if !strings.HasPrefix(dir, "/sys/fs/cgroup/") || !strings.HasSuffix(dir, g.name) || dir != filepath.Clean(dir) {
				t.Errorf("%s: the directory of group %q is %q", controller, g.name, dir)
			}
		}
		again, err := New(Config{ID: id, Path: path, Systemd: systemd})
		if err != nil || again.name != g.name || fmt.Sprint(slices.Sorted(maps.Values(again.paths))) != fmt.Sprint(slices.Sorted(maps.Values(g.paths))) {
			t.Errorf("%q is once %q and once %q, %v", path, g.name, again.name, err)
		}
	})
}
