package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
	"golang.org/x/sys/unix"
)

// TestSwaps has a guest read, make and remove files below names that others
// change under its hands: another container makes one a folder and a link to
// the treasure in turns, the host does so with a second, and moves a third out
// of the volume, to where its "../.." is the treasure's folder, and back. So
// are the mounts of containers that are created meanwhile.
func TestSwaps(t *testing.T) {
	leavesNothing(t)
	v := newVault(t)
	vol := filepath.Join(v.dir, "vol")
	up := strings.Repeat("../", 24)
	for _, dir := range []string{"d", "h", "tree/h/sub"} {
		if err := os.MkdirAll(filepath.Join(vol, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"d", "h", "tree"} {
		write(t, filepath.Join(vol, dir, "treasure"), "decoy")
	}
	for link, target := range map[string]string{
		"other":       up + v.dir[1:],
		"other-h":     v.dir,
		"tree/h/back": "sub/../..",
	} {
		if err := os.Symlink(target, filepath.Join(vol, link)); err != nil {
			t.Fatal(err)
		}
	}

	swapper := plan{guest: "escape", args: []string{"swap", "/vol"}, spec: []oci.SpecOpts{v.mounts()}}.start(t)
	swapper.stdout.waitFor(t, "swapping")
	stop, stopped := make(chan struct{}), make(chan error)
	go func() { stopped <- swapUntil(stop, v.dir) }()
	probe := plan{guest: "escape", args: []string{"probe", "/vol", secret}, spec: []oci.SpecOpts{v.mounts()}}.start(t)
	// Who sets up further containers walks through such a name as well.
	for range 5 {
		b, err := plan{guest: "hello-c", spec: []oci.SpecOpts{
			v.mounts(), bind(filepath.Join(v.dir, "ro"), "/vol/h/folder"), bind(filepath.Join(v.dir, "ro/file"), "/vol/h/sub/file"),
			oci.WithProcessCwd("/vol/h/cwd"),
		}}.tryCreate(t)
		if err != nil {
			t.Log(err) // the name was changed at the wrong moment
		} else if err := b.remove(); err != nil {
			t.Error(err)
		}
	}
	status := probe.wait(t)
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	swapper.kill(t, syscall.SIGTERM)
	swapper.waitCode(t, 143)
	probe.task.IO().Wait()
	if want := "d: never more than the decoy\nh: never more than the decoy\ntree/h/back: never more than the decoy\n"; status.ExitCode() != 0 || probe.stdout.String() != want {
		t.Errorf("exit code %d, stdout %q, stderr %q", status.ExitCode(), probe.stdout, probe.stderr)
	}
}

// swapUntil is the host's part. At its end the moved folder is where it was.
func swapUntil(stop <-chan struct{}, dir string) error {
	vol := filepath.Join(dir, "vol")
	for {
		err := errors.Join(
			unix.Renameat2(unix.AT_FDCWD, filepath.Join(vol, "h"), unix.AT_FDCWD, filepath.Join(vol, "other-h"), unix.RENAME_EXCHANGE),
			os.Rename(filepath.Join(vol, "tree/h"), filepath.Join(dir, "outside/h")),
			os.Rename(filepath.Join(dir, "outside/h"), filepath.Join(vol, "tree/h")),
		)
		if err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}
