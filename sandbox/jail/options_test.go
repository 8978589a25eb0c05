package jail

import (
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What is advertised is what is understood: no option of the list is handed to
// the file system as one that only it may know.
func TestMountOptionsAreUnderstood(t *testing.T) {
	listed := MountOptions()
	if !slices.IsSorted(listed) || len(slices.Compact(slices.Clone(listed))) != len(listed) {
		t.Errorf("not sorted or not unique: %q", listed)
	}
	for _, option := range listed {
		m := specs.Mount{Type: "tmpfs", Options: []string{option}}
		if strings.HasSuffix(option, "idmap") {
			m.Type = "bind"
		}
		o, err := parseOptions(m)
		if err != nil || len(o.data) > 0 {
			t.Errorf("%s: %v, handed on: %q", option, err, o.data)
		}
	}
	for _, option := range []string{"size=1m", "remount", "rsize=4096"} {
		if slices.Contains(listed, option) {
			t.Errorf("%s is listed", option)
		}
	}
}
