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

const wasiOutcomes = `
preopens: 3=/
absolute: PERM
up: PERM
down and up: PERM
with dots: PERM
two slashes: PERM
backslashes: NOENT
up and back is here: ok
a NUL: INVAL
a NUL and up: INVAL
outside of the memory: FAULT
longer than the memory: FAULT
result outside of the memory: FAULT
empty: NOENT
too long: NAMETOOLONG
up from a directory: PERM
up from a directory, further: PERM
dot dot from a directory: PERM
dot dot from the root: PERM
absolute from a directory: PERM
from a file: NOTDIR
dot from a file: NOTDIR
from stdin: NOTDIR | BADF
from nothing: BADF
a file and a slash: NOTDIR
a file as a directory: NOTDIR
stat up: PERM
touch up: PERM
mkdir up: PERM
rmdir up: PERM
rmdir root: BUSY | INVAL | IO
rmdir a mount: BUSY | IO
unlink up: PERM
readlink up: PERM
symlink up: PERM
rename from up: PERM
rename to up: PERM
link from up: PERM
link to up: PERM
symlink to absolute: PERM
libc symlink to absolute: PERM
symlink: ok
through a symlink: NOENT
through a symlink, nofollow: LOOP
through a symlink, nofollow, directory: NOTDIR
through a symlink, slash: NOENT
through a symlink, nofollow, slash: NOENT
through a symlink, dot: NOENT
through a symlink, create: NOENT
through a symlink, create, exclusive: EXIST
through a symlink, create, nofollow: LOOP
through a symlink, truncate: NOENT
stat through a symlink: NOENT
touch through a symlink: NOENT
mkdir on a symlink: EXIST
mkdir on a symlink, slash: EXIST
rmdir a symlink: NOTDIR
rmdir a symlink, slash: NOTDIR
unlink through a symlink, slash: NOTDIR
link a symlink, follow: PERM
through the link of a symlink: NOENT
rename over a symlink: ok
unlink what was a symlink: ok
host's symlink: NOENT
host's symlink, create: NOENT
host's symlink to a directory: NOENT
host's symlink to a directory, create: NOENT
mkdir in host's symlink to a directory: NOENT
rename into host's symlink to a directory: NOENT
libc host's symlink: NOENT
chain of symlinks: NOENT
loop of symlinks: LOOP
parent of a volume: the root
parents of a volume: the root
through parents: NOENT
directory of parents: ok
up from parents: PERM
absolute from parents: NOENT
up from a moved directory: PERM
in a directory that became a symlink: NOENT
readdir at wrong cookies: ok
readdir of a file: NOTDIR | BADF
read a directory: ISDIR
buffer outside of the memory: FAULT
proc/self/root: LOOP
proc/self/root/up: nothing
proc/self/cwd: LOOP
proc/self/cwd/up: nothing
proc/1/root: LOOP
proc/1/root/up: nothing
proc/1/cwd: LOOP
proc/1/cwd/up: nothing
proc/thread-self/root: NOENT
proc/thread-self/root/up: nothing
proc/self/task/1/root: NOENT
proc/self/task/1/root/up: nothing
proc/self/root and up: LOOP
write proc/self/exe: LOOP
truncate proc/self/exe: LOOP
touch proc/self/exe: LOOP
touch an open proc/self/exe: ACCES
link proc/self/exe: NOENT
mapped files that open: 0 of some
descriptors that open for writing: 0
write proc/sysrq-trigger: NOENT | ROFS
write core_pattern: ROFS
write hotplug's helper: NOENT | ROFS
make in cgroups: NOENT | ROFS
make in proc: NOENT | ROFS
ro: read: ok
ro: write: ROFS
ro: append: ROFS
ro: truncate: ROFS
ro: create: ROFS
ro: mkdir: ROFS
ro: rmdir: ROFS
ro: unlink: ROFS
ro: symlink: ROFS
ro: rename: ROFS
ro: touch: ROFS
ro: link: ROFS
ro: link to rw: XDEV
ro: rename to rw: XDEV
ro: rename from rw: XDEV
ro: write through a symlink of rw: ROFS
ro: write through proc/self/root: LOOP
ro: write what is open: NOTCAPABLE
ro: cut what is open: INVAL
ro: allocate what is open: NOTCAPABLE
ro: touch what is open: ROFS
ro: create in an open directory: ROFS
ro: descriptors that open for writing: 0
libc ro: write: ROFS
rename to another mount: XDEV
link to another mount: XDEV
own memory: 0
through descriptors: 0
renumber nothing: BADF
renumber over nothing: BADF
renumber over stdin: ok
through a renumbered file: NOTDIR
the preopen is the root: yes
renumber the preopen: ok
from where the preopen was: BADF
from where it is: ok
up from there: PERM
`

const goOutcomes = `
working directory: ok
absolute: No such file or directory
up: No such file or directory
up from a volume: No such file or directory
write absolute: No such file or directory
remove absolute: No such file or directory
remove up: No such file or directory
remove all up: ok
symlink: ok
through a symlink: No such file or directory
write through a symlink: No such file or directory
touch through a symlink: No such file or directory
truncate through a symlink: No such file or directory
rename to up: No such file or directory
rename from up: No such file or directory
link from up: No such file or directory
mkdir up: No such file or directory
change to up: No such file or directory
change to root and up: No such file or directory
host's symlink: No such file or directory
host's symlink to a directory: No such file or directory
write through host's symlink: No such file or directory
list host's symlink to a directory: No such file or directory
ro: read: ok
ro: write: Read-only file system
ro: create: Read-only file system
ro: remove: Read-only file system
ro: touch: Read-only file system
remove the symlink: ok
`
