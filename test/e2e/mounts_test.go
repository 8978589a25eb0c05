package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestBindMount(t *testing.T) {
	for _, guest := range cOrGo("files", "gofiles") {
		t.Run(guest+"/rw", func(t *testing.T) {
			leavesNothing(t)
			dir := t.TempDir()
			flags := []string{"--mount", "type=bind,src=" + dir + ",dst=/data,options=rbind:rw"}
			ctrRun(t, guest, flags, "write", "/data/file", "from the guest").wantCode(t, 0)
			if got := read(t, filepath.Join(dir, "file")); got != "from the guest" {
				t.Fatalf("the host reads %q", got)
			}
			r := ctrRun(t, guest, flags, "ls", "/data")
			r.wantCode(t, 0)
			r.wantStdout(t, "file\n")
		})
		t.Run(guest+"/ro", func(t *testing.T) {
			leavesNothing(t)
			dir := t.TempDir()
			write(t, filepath.Join(dir, "file"), "from the host")
			flags := []string{"--mount", "type=bind,src=" + dir + ",dst=/data,options=rbind:ro"}
			r := ctrRun(t, guest, flags, "read", "/data/file")
			r.wantCode(t, 0)
			r.wantStdout(t, "from the host")
			for _, path := range []string{"/data/file", "/data/new"} {
				r := ctrRun(t, guest, flags, "write", path, "from the guest")
				r.wantCode(t, 1)
				if !strings.Contains(strings.ToLower(r.stderr), "read-only file system") {
					t.Errorf("write to %s: %s", path, r)
				}
			}
			if got := read(t, filepath.Join(dir, "file")); got != "from the host" {
				t.Fatalf("the guest wrote through a read-only mount: %q", got)
			}
		})
	}
}

func TestTmpfs(t *testing.T) {
	leavesNothing(t)
	flags := []string{"--mount", "type=tmpfs,src=tmpfs,dst=/scratch,options=size=1m:mode=1777"}
	ctrRun(t, "files", flags, "write", "/scratch/file", "text").wantCode(t, 0)
	// Each container has its own.
	r := ctrRun(t, "files", flags, "ls", "/scratch")
	r.wantCode(t, 0)
	r.wantStdout(t, "")
	// It ends where its size says.
	r = ctrRun(t, "fill", flags, "/scratch/file")
	r.wantCode(t, 1)
	r.wantStderr(t, "fill: write /scratch/file:")
}

func TestReadOnlyRootfs(t *testing.T) {
	leavesNothing(t)
	r := ctrRun(t, "files", []string{"--read-only"}, "write", "/file", "text")
	r.wantCode(t, 1)
	r.wantStderr(t, "Read-only file system")
	ctrRun(t, "files", nil, "write", "/file", "text").wantCode(t, 0)
}

// bind mounts a folder of the host read-write.
func bind(source, destination string) oci.SpecOpts {
	return oci.WithMounts([]specs.Mount{{
		Type: "bind", Source: source, Destination: destination, Options: []string{"rbind", "rw"},
	}})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func owner(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return st.Uid, st.Gid
}
