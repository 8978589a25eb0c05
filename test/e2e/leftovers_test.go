package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

// takeResidue is all that a container may leave behind on the machine.
func takeResidue() (isolate.Residue, error) {
	r := isolate.Residue{}
	return r, errors.Join(r.Processes(), r.Mounts(), cgroups(r), files(r))
}

func cgroups(r isolate.Residue) error {
	groups, err := isolate.Cgroups(engine.Namespace)
	for _, group := range groups {
		// The group named as the namespace is the parent of all containers,
		// which runtimes make and leave.
		if filepath.Base(group) != engine.Namespace {
			r["cgroup "+group] = true
		}
	}
	return err
}

// files are sockets, FIFOs, and runc's state below /run/containerd, and the
// bundles in containerd's own folders.
func files(r isolate.Residue) error {
	shared := map[string]bool{"/run/containerd/runc/" + engine.Namespace: true}
	for _, root := range []string{
		"/run/containerd",
		filepath.Join(engine.State(), "io.containerd.runtime.v2.task", engine.Namespace),
		filepath.Join(engine.Root(), "io.containerd.runtime.v2.task", engine.Namespace),
	} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			depth := strings.Count(strings.TrimPrefix(path, root), "/")
			isTop := depth == 0 || depth == 1 && root == "/run/containerd" && d.IsDir()
			if err == nil && !isTop && !shared[path] {
				r["file "+path] = true
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leavesNothing fails the test, at its end and after all its cleanups, if there
// is more on the machine than when the tests began, or if containerd has ended.
// It is called first.
func leavesNothing(t *testing.T) {
	t.Helper()
	logged := len(read(t, engine.Log()))
	t.Cleanup(func() {
		defer func() {
			if t.Failed() {
				t.Logf("containerd and the shims logged:\n%s", worthReading(read(t, engine.Log())[logged:]))
			}
		}()
		if !engine.Alive() {
			t.Fatal("containerd ended during the test")
		}
		// What ends asynchronously: shims after their last task, containerd's
		// folders after the event.
		deadline := time.Now().Add(scaled(10 * time.Second))
		for {
			left, err := surplus()
			if err != nil {
				t.Fatal(err)
			}
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("left behind:\n\t%s", strings.Join(left, "\n\t"))
				// Charge it to this test only.
				before, err = takeResidue()
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// worthReading drops the debug lines of a log.
func worthReading(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "level=debug") {
			lines = append(lines, "\t"+line)
		}
	}
	return strings.Join(lines, "")
}

// surplus lists what is there now and was not when the tests began.
func surplus() ([]string, error) {
	now, err := takeResidue()
	if err != nil {
		return nil, fmt.Errorf("look for leftovers: %w", err)
	}
	return now.Beside(before), nil
}

// running counts the processes that run a program of that name.
func running(t *testing.T, program string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && filepath.Base(exe) == program {
			n++
		}
	}
	return n
}
