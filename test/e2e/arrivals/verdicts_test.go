package arrivals

import (
	"regexp"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/v1"

	known "github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
)

// compare holds what wasm-image says of a form to what was measured, by the
// names of the engines. Docker's cells are those of the containerd image store
// and then those of its own.
func (f form) compare(t *testing.T, measured map[string][]cell) {
	t.Helper()
	if f.known == "" {
		return // wasm-image has no name for it
	}
	var platforms []ggcr.Platform
	for _, p := range f.platforms() {
		platforms = append(platforms, ggcr.Platform{OS: p.OS, Architecture: p.Architecture})
	}
	verdicts := known.Verdicts(f.known, platforms, len(f.image.Index) > 0)
	if len(verdicts) != len(known.Engines) {
		t.Errorf("%s: wasm-image has %d verdicts, want one for each of %q", f.what, len(verdicts), known.Engines)
	}
	for _, v := range verdicts {
		cells := measured[v.Engine]
		if len(cells) == 0 && v.Engine != "CRI-O" {
			t.Errorf("of %s, there are no cells", v.Engine)
		}
		for i, c := range cells {
			if says := f.here(v.Says); !agree(says, c, i >= len(cells)/2 && v.Engine == "Docker") {
				t.Errorf("%s under %s: wasm-image says %q, measured was %q", f.what, v.Engine, says, c)
			}
		}
	}
}

// here is the part of a verdict that is about this machine, or about others.
func (f form) here(says string) string {
	native, foreign, ok := strings.Cut(says, "; elsewhere ")
	if p := f.chosen().Platform; ok && p.OS == linux.OS && p.Architecture != linux.Architecture {
		return "runs " + strings.TrimPrefix(foreign, "runs ")
	}
	return native
}

// quoted are the words of who refuses.
var quoted = regexp.MustCompile(`"([^"]*)"`)

func agree(says string, c cell, ownStore bool) bool {
	runs := strings.HasPrefix(says, "runs")
	if ownStore && strings.Contains(says, "with the containerd image store") {
		return !strings.HasPrefix(string(c), "runs")
	}
	platform := strings.HasPrefix(string(c), "runs with `--platform ") || strings.HasPrefix(string(c), "runs any of them; with `--platform ")
	for _, words := range quoted.FindAllStringSubmatch(says, -1) {
		if !strings.Contains(string(c), words[1]) {
			return false
		}
	}
	return strings.HasPrefix(string(c), "runs") == runs &&
		platform == (runs && strings.Contains(says, "--platform")) &&
		strings.HasPrefix(string(c), "runs with a command") == (runs && strings.Contains(says, "command"))
}

// TestAgree is of the comparison itself.
func TestAgree(t *testing.T) {
	for _, c := range []struct {
		says     string
		cell     cell
		ownStore bool
		want     bool
	}{
		{"runs", "runs", false, true},
		{"runs", "`ctr run`: \"no\"", false, false},
		{"runs", "runs with `--platform a/b`; else `x`: \"no\"", false, false},
		{"runs with its own `--platform`", "runs with `--platform a/b`; else `x`: \"no\"", false, true},
		{"runs with its own `--platform`", "runs", false, false},
		{"runs where the pod gives `command`", "runs with a command; else `x`: \"no\"", false, true},
		{"runs where the pod gives `command`", "runs", false, false},
		{"does not run: x, \"no\" (y)", "`x`: \"no way\"", false, true},
		{"does not run: x, \"no\" (y)", "`x`: \"never\"", false, false},
		{"does not run: x", "runs", false, false},
		{"runs with the containerd image store", "runs", false, true},
		{"runs with the containerd image store", "runs", true, false},
		{"runs with the containerd image store", "`x`: \"no\"", true, true},
	} {
		if got := agree(c.says, c.cell, c.ownStore); got != c.want {
			t.Errorf("agree(%q, %q, %v) = %v", c.says, c.cell, c.ownStore, got)
		}
	}
}
