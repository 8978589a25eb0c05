package isolate

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Residue is what is there at a moment that tests may leave behind, one line each.
// The program is alone in its PID and mount namespaces, so whatever is there was
// made by it.
type Residue map[string]bool

// Processes adds the processes, but for those of programs, by the names of their
// files, that come and go by themselves.
func (r Residue) Processes(comeAndGo ...string) error {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if exe, err := os.Readlink("/proc/" + e.Name() + "/exe"); err == nil && slices.Contains(comeAndGo, filepath.Base(exe)) {
			continue
		}
		// A zombie has no program and no command line and counts as well: nobody
		// reaped it.
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil {
			r["process "+e.Name()+" "+strings.ReplaceAll(string(line), "\x00", " ")] = true
		}
	}
	return err
}

// Mounts adds the mounts.
func (r Residue) Mounts() error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(info)) {
		// Field 0 is the mount's number, 4 its place (proc(5)).
		if fields := strings.Fields(line); len(fields) > 4 {
			r["mount "+fields[0]+" "+fields[4]] = true
		}
	}
	return err
}

// Beside lists what is there beside the others, sorted.
func (r Residue) Beside(others ...Residue) []string {
	more := maps.Clone(r)
	for _, other := range others {
		maps.DeleteFunc(more, func(line string, _ bool) bool { return other[line] })
	}
	return slices.Sorted(maps.Keys(more))
}
