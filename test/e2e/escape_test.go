package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// vault is a folder of the host with a treasure in it that no guest may reach.
// Beside the treasure are two volumes: a guest has one at /vol, and the other,
// read-only, at /ro. From the first, the host's own links lead to the treasure.
// The folder "outside" is for the host alone and has such a treasure, too.
type vault struct{ dir, treasure string }

const secret = "what no guest may read"

// newVault also holds that at the test's end the treasure, the folder that it is
// in and the read-only volume are as they were.
func newVault(t *testing.T) *vault {
	t.Helper()
	dir := t.TempDir()
	v := &vault{dir, filepath.Join(dir, "treasure")}
	for _, folder := range []string{"vol/dir", "ro/dir", "outside"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, v.treasure, secret)
	write(t, filepath.Join(dir, "outside/treasure"), secret)
	write(t, filepath.Join(dir, "vol/file"), "of the volume")
	write(t, filepath.Join(dir, "ro/file"), "of the other volume")
	for link, target := range map[string]string{"vol/host-link": v.treasure, "vol/host-dir": dir} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	before := v.protected(t)
	t.Cleanup(func() {
		after := v.protected(t)
		for _, path := range slices.Sorted(maps.Keys(before)) {
			if after[path] != before[path] {
				t.Errorf("%s was\n\t%s\nand is\n\t%s", path, before[path], after[path])
			}
		}
		if len(after) != len(before) {
			t.Errorf("there are %d files now, and there were %d", len(after), len(before))
		}
	})
	return v
}

// protected describes every file outside of /vol: any change of it, of its links
// or its times shows.
func (v *vault) protected(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(v.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == filepath.Join(v.dir, "vol") {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		switch {
		case d.Name() == "outside": // the host may move folders to and fro
			files[path] = fmt.Sprint(info.Mode(), st.Nlink, st.Uid)
		case info.IsDir():
			files[path] = fmt.Sprint(info.Mode(), st.Nlink, st.Uid, st.Mtim, st.Ctim)
		case info.Mode().IsRegular():
			files[path] = fmt.Sprint(info.Mode(), st.Nlink, st.Uid, st.Mtim, st.Ctim, read(t, path))
		default:
			files[path] = fmt.Sprint(info.Mode(), st.Uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mounts are those of a container that has the volumes.
func (v *vault) mounts() oci.SpecOpts {
	return oci.WithMounts([]specs.Mount{
		{Type: "bind", Source: filepath.Join(v.dir, "vol"), Destination: "/vol", Options: []string{"rbind", "rw"}},
		{Type: "bind", Source: filepath.Join(v.dir, "ro"), Destination: "/ro", Options: []string{"rbind", "ro"}},
	})
}

// wantOutcomes compares what a guest says of its attempts with a table of the
// same lines, which may name several outcomes.
func wantOutcomes(t *testing.T, b *box, table string) {
	t.Helper()
	b.task.IO().Wait()
	got, want := lines(b.stdout.String()), lines(table)
	if strings.Contains(b.stdout.String()+b.stderr.String(), secret) {
		t.Error("the guest has read the treasure")
	}
	for i, line := range want {
		attempt, outcomes := cutLast(line)
		if i >= len(got) {
			t.Fatalf("nothing came of %q and what follows; stderr %q", attempt, b.stderr)
		}
		name, outcome := cutLast(got[i])
		if name != attempt || !slices.Contains(strings.Split(outcomes, " | "), outcome) {
			t.Errorf("%q, want %q", got[i], line)
		}
	}
	if len(got) > len(want) {
		t.Errorf("more attempts than in the table: %q", got[len(want):])
	}
}

// cutLast cuts at the last colon; the name of an attempt may have one.
func cutLast(line string) (name, outcome string) {
	i := max(strings.LastIndex(line, ": "), 0)
	return line[:i], strings.TrimPrefix(line[i:], ": ")
}

func lines(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(s string) bool { return strings.TrimSpace(s) == "" })
}

// TestNoWayOut has a guest try all that has been a way out of one runtime or
// another, by WASI's own functions. Where the table names several outcomes, file
// systems, kernels and WASI hosts differ, and all of them are good.
func TestNoWayOut(t *testing.T) {
	leavesNothing(t)
	v := newVault(t)
	b := plan{guest: "escape", args: []string{"attempts", v.treasure}, spec: []oci.SpecOpts{v.mounts()}}.create(t)
	hasTheMounts(t, b)
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.waitCode(t, 0)
	wantOutcomes(t, b, wasiOutcomes)
}

// TestNoWayOutForGo does the same by Go's standard library.
func TestNoWayOutForGo(t *testing.T) {
	leavesNothing(t)
	v := newVault(t)
	b := plan{guest: "goescape", args: []string{v.treasure}, spec: []oci.SpecOpts{v.mounts(), oci.WithProcessCwd("/vol/dir")}}.start(t)
	b.waitCode(t, 0)
	wantOutcomes(t, b, goOutcomes)
}

// hasTheMounts holds that a container's process sees the mounts of its spec,
// with their flags, and no other file system.
func hasTheMounts(t *testing.T, b *box) {
	t.Helper()
	spec, err := b.Spec(namespaced(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string][]string{}
	for line := range strings.Lines(read(t, procFile(b.task.Pid(), "mountinfo"))) {
		fields := strings.Fields(line) // proc(5)
		flags[fields[4]] = strings.Split(fields[5], ",")
	}
	known := append([]string{"/", "/proc/self", "/proc/1"}, spec.Linux.MaskedPaths...)
	for _, m := range spec.Mounts {
		known = append(known, m.Destination)
		if flags[m.Destination] == nil {
			t.Errorf("nothing is mounted at %s", m.Destination)
		}
		for _, flag := range []string{"ro", "nosuid", "nodev", "noexec"} {
			if slices.Contains(m.Options, flag) && !slices.Contains(flags[m.Destination], flag) {
				t.Errorf("the mount at %s is %s, without %s", m.Destination, flags[m.Destination], flag)
			}
		}
	}
	for path, flags := range flags {
		isKnown := slices.ContainsFunc(append(known, spec.Linux.ReadonlyPaths...), func(k string) bool {
			return path == k || k == "/proc/1" && (path == k+"/mem" || path == k+"/task")
		})
		if !isKnown {
			t.Errorf("a mount that the spec does not have is at %s: %s", path, flags)
		}
	}
	if !slices.Contains(flags["/proc"], "ro") {
		t.Errorf("procfs is %s; by it a guest reaches its own process", flags["/proc"])
	}
}

// TestOwnMemory has further processes of a container, one a user's and one
// root's, look for their own memory and that of the first.
func TestOwnMemory(t *testing.T) {
	leavesNothing(t)
	b := withTools(t)
	for _, user := range []string{"0", "1000"} {
		r := b.ctrExec(t, "", []string{"--user", user}, "/tools/escape.wasm", "mem")
		r.wantCode(t, 0)
		r.wantStdout(t, "own memory: 0\n")
	}
}

// TestLogFileIsOutOfReach has a guest go for the file of the host that its
// output is appended to.
func TestLogFileIsOutOfReach(t *testing.T) {
	leavesNothing(t)
	log := filepath.Join(t.TempDir(), "log")
	write(t, log, "before\n")
	ctrRun(t, "escape", []string{"--log-uri", "file://" + log}, "output").wantCode(t, 0)
	if got := read(t, log); got != "before\nafter\n" {
		t.Errorf("the log is %q", got)
	}
}
