package cgroups

import (
	"fmt"
	"strings"

	devices "github.com/opencontainers/cgroups/devices/config"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// everyContainer lists the character devices that a container may use whatever
// its spec says: the default devices of the runtime spec, config-linux.md, and
// the pseudo terminals. Making nodes of other devices is not allowed, as a guest
// has no capability to do so.
var everyContainer = []struct{ major, minor int64 }{
	{1, 3},                  // null
	{1, 5},                  // zero
	{1, 7},                  // full
	{1, 8},                  // random
	{1, 9},                  // urandom
	{5, 0},                  // tty
	{5, 1},                  // console
	{5, 2},                  // ptmx
	{136, devices.Wildcard}, // pts/*
}

// deviceRules returns the rules in the order in which they take effect: nothing,
// then what the spec says, then what every container has.
func deviceRules(spec []specs.LinuxDeviceCgroup) ([]*devices.Rule, error) {
	rules := []*devices.Rule{{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"}}
	for i, d := range spec {
		if d.Access == "" || strings.Trim(d.Access, "rwm") != "" {
			return nil, fmt.Errorf("linux.resources.devices[%d].access: %q is not made of r, w and m", i, d.Access)
		}
		rule := devices.Rule{
			Major:       devices.Wildcard,
			Minor:       devices.Wildcard,
			Permissions: devices.Permissions(d.Access).Union(""), // in the manager's order
			Allow:       d.Allow,
		}
		if d.Major != nil {
			rule.Major = *d.Major
		}
		if d.Minor != nil {
			rule.Minor = *d.Minor
		}
		var types []devices.Type
		switch d.Type {
		case "", "a":
			// The manager takes its wildcard for all access to all devices, however
			// narrow the rest of the rule is.
			types = []devices.Type{devices.BlockDevice, devices.CharDevice}
			if rule.Major == devices.Wildcard && rule.Minor == devices.Wildcard && rule.Permissions == "rwm" {
				types = []devices.Type{devices.WildcardDevice}
			}
		case "b":
			types = []devices.Type{devices.BlockDevice}
		case "c", "u":
			types = []devices.Type{devices.CharDevice}
		default:
			return nil, fmt.Errorf("linux.resources.devices[%d].type: %q is not a, b or c", i, d.Type)
		}
		for _, t := range types {
			typed := rule
			typed.Type = t
			rules = append(rules, &typed)
		}
	}
	for _, d := range everyContainer {
		rules = append(rules, &devices.Rule{Type: devices.CharDevice, Major: d.major, Minor: d.minor, Permissions: "rwm", Allow: true})
	}
	return rules, nil
}
