package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
)

// TestSystemdScope has a container in a scope of systemd's. Where systemd is not
// the first process of the machine, that must be an error that says so.
func TestSystemdScope(t *testing.T) {
	leavesNothing(t)
	p := plan{guest: "sleep", args: []string{"600000"}, spec: []oci.SpecOpts{
		oci.WithCgroup("system.slice:wasm:" + strings.ToLower(t.Name())), oci.WithMemoryLimit(memoryLimit),
	}}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		if _, err := p.tryCreate(t); err == nil || !strings.Contains(err.Error(), "systemd") {
			t.Errorf("without systemd: %v, want an error that says so", err)
		}
		return
	}
	b := p.start(t)
	b.stdout.waitFor(t, "sleeping")
	scope := fmt.Sprintf("wasm-%s.scope", strings.ToLower(t.Name()))
	out, err := exec.Command("systemctl", "show", "-p", "MemoryMax,Slice,ActiveState", scope).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{fmt.Sprintf("MemoryMax=%d", memoryLimit), "Slice=system.slice", "ActiveState=active"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s has not %s:\n%s", scope, want, out)
		}
	}
}
