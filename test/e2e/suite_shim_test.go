package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// TestClientShimCgroup puts the shim into a cgroup of the client's choice, and
// looks at its OOM score, which is to be a little higher than containerd's.
func TestClientShimCgroup(t *testing.T) {
	leavesNothing(t)
	path := "/" + engine.Namespace + "/of-the-shim"
	for _, dir := range makeCgroup(t, path) {
		t.Cleanup(func() {
			eventually(t, dir+" can be removed", func() bool { return os.Remove(dir) == nil })
		})
	}
	b := plan{
		guest: "sleep",
		args:  []string{"600000"},
		spec:  []oci.SpecOpts{withOOMScore(500)},
		task:  []containerd.NewTaskOpts{containerd.WithShimCgroup(path)},
	}.create(t)
	shim := uint32(parent(t, int(b.task.Pid())))
	if groups := read(t, procFile(shim, "cgroup")); !strings.Contains(groups, ":"+path+"\n") {
		t.Errorf("the shim is in none of the cgroups %s:\n%s", path, groups)
	}
	if groups := read(t, procFile(b.task.Pid(), "cgroup")); strings.Contains(groups, path) {
		t.Errorf("the task is in the shim's cgroup:\n%s", groups)
	}
	if got, want := oomScore(t, shim), min(oomScore(t, uint32(engine.Pid()))+1, 1000); got != want {
		t.Errorf("the shim's OOM score is %d, not %d", got, want)
	}
	if got := oomScore(t, b.task.Pid()); got != 500 {
		t.Errorf("the task's OOM score is %d, not 500", got)
	}
}

// TestClientOptions sends options that are refused. An error of the shim's start
// and one of the task's creation leave equally little.
func TestClientOptions(t *testing.T) {
	for name, c := range map[string]struct {
		option containerd.NewTaskOpts
		want   string
	}{
		"no pivot_root": {containerd.WithNoPivotRoot, "NoPivotRoot"},
		"no cgroup":     {containerd.WithShimCgroup("/" + engine.Namespace + "/nowhere"), "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			b, err := plan{guest: "hello-c", task: []containerd.NewTaskOpts{c.option}}.tryCreate(t)
			if err == nil {
				t.Fatalf("%s was created", b.ID())
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not name %s: %v", c.want, err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
		})
	}
}

// makeCgroup makes a cgroup below each hierarchy, and returns its folders.
func makeCgroup(t *testing.T, path string) (dirs []string) {
	t.Helper()
	roots := []string{"/sys/fs/cgroup"}
	if !unified {
		var err error
		if roots, err = filepath.Glob("/sys/fs/cgroup/*"); err != nil {
			t.Fatal(err)
		}
	}
	for _, root := range roots {
		// A new group of the old cpuset holds no process before it has processors.
		if _, err := os.Stat(filepath.Join(root, "cpuset.cpus")); err == nil && !unified {
			continue
		}
		if target, err := filepath.EvalSymlinks(root); err != nil || target != filepath.Clean(root) {
			continue // another name of the same
		}
		dir := filepath.Join(root, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

func oomScore(t *testing.T, pid uint32) int {
	t.Helper()
	score, err := strconv.Atoi(strings.TrimSpace(read(t, procFile(pid, "oom_score_adj"))))
	if err != nil {
		t.Fatal(err)
	}
	return score
}

// holdings counts what a process keeps open, by kind, and its threads.
type holdings map[string]int

func holdingsOf(t *testing.T, pid uint32) holdings {
	t.Helper()
	h := holdings{}
	entries, err := os.ReadDir(procFile(pid, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, err := os.Readlink(procFile(pid, "fd/"+e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		kind, _, named := strings.Cut(target, ":") // pipe:[1], socket:[2], anon_inode:[pidfd]
		switch {
		case kind == "anon_inode":
			kind = target
		case !named:
			kind = "file"
		}
		h[kind]++
	}
	return h
}

// exceed lists of what there is more than there was.
func (h holdings) exceed(before holdings) (more []string) {
	for kind, n := range h {
		if n > before[kind] {
			more = append(more, fmt.Sprintf("%s: %d, were %d", kind, n, before[kind]))
		}
	}
	return more
}

// TestClientLeaks runs many tasks in one pod and looks at what its shim and
// containerd keep open.
func TestClientLeaks(t *testing.T) {
	leavesNothing(t)
	inPod := oci.WithAnnotations(map[string]string{"io.kubernetes.cri.sandbox-id": newID(t)})
	anchor := sleeper(t, inPod)
	shim, daemon := uint32(parent(t, int(anchor.task.Pid()))), uint32(engine.Pid())
	round := func(t *testing.T, i int) {
		p := tool(t, "/sleep.wasm", "600000")
		p.spec = append(p.spec, inPod)
		p.stdin = strings.NewReader("not read\n")
		if i%5 == 4 {
			p.spec = append(p.spec, oci.WithProcessArgs("/nothing.wasm"))
			if b, err := p.tryCreate(t); err == nil {
				t.Fatalf("%s was created", b.ID())
			}
			return
		}
		b := p.create(t)
		if i%5 != 3 {
			if err := b.task.Start(namespaced(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		if i%2 == 0 {
			b.kill(t, syscall.SIGKILL)
			b.waitCode(t, 137)
		}
		if err := b.remove(); err != nil {
			t.Fatal(err)
		}
	}
	spawn := func(t *testing.T, i int) {
		p := anchor.spawn(t, fmt.Sprint("exec", i), cio.NullIO, "/exit.wasm", "0").start(t)
		p.waitCode(t, 0)
		p.delete(t)
	}
	rounds := 50
	if emulated {
		rounds = 10
	}
	for name, do := range map[string]func(*testing.T, int){"tasks": round, "processes": spawn} {
		t.Run(name, func(t *testing.T) {
			for i := range 5 { // what is opened once and kept
				do(t, -1-i)
			}
			before := map[uint32]holdings{shim: holdingsOf(t, shim), daemon: holdingsOf(t, daemon)}
			threads := procThreads(t, shim)
			for i := range rounds {
				do(t, i)
			}
			for pid, program := range map[uint32]string{shim: "the shim", daemon: "containerd"} {
				var more []string
				deadline := time.Now().Add(scaled(5 * time.Second))
				for {
					if more = holdingsOf(t, pid).exceed(before[pid]); len(more) == 0 || time.Now().After(deadline) {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
				if len(more) > 0 {
					t.Errorf("after %d %s %s keeps open more than before: %s", rounds, name, program, strings.Join(more, "; "))
				}
			}
			if now := procThreads(t, shim); now > threads+8 {
				t.Errorf("the shim has %d threads after %d %s, and had %d", now, rounds, name, threads)
			}
		})
	}
}

func procThreads(t *testing.T, pid uint32) int {
	t.Helper()
	n, err := strconv.Atoi(procStatus(t, pid, "Threads"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
