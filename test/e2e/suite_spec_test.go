package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestClientSpec sets what containerd's options set, and looks at it through
// the guest's eyes.
func TestClientSpec(t *testing.T) {
	for name, c := range map[string]struct {
		option oci.SpecOpts
		file   string
		want   string
	}{
		"hostname":   {oci.WithHostname("wasm-host"), "/proc/sys/kernel/hostname", "wasm-host\n"},
		"domainname": {oci.WithDomainname("wasm.example"), "/proc/sys/kernel/domainname", "wasm.example\n"},
		"rlimit":     {oci.WithRlimit(&specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: 321, Hard: 654}), "/proc/self/limits", "Max open files            321                  654                  files     \n"},
		"umask":      {oci.WithUmask(0o27), "/proc/self/status", "Umask:\t0027\n"},
		"privileges": {oci.WithNoNewPrivileges, "/proc/self/status", "NoNewPrivs:\t1\n"},
		"groups":     {oci.WithAdditionalGIDs("guest"), "/proc/self/status", "Groups:\t0 5679 \n"},
		"OOM score":  {withOOMScore(321), "/proc/self/oom_score_adj", "321\n"},
		"shm":        {oci.WithDevShmSize(4096), "/proc/self/mounts", "size=4096k"},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			p := tool(t, "/files.wasm", "read", c.file)
			p.spec = append(p.spec, c.option)
			b := p.start(t)
			b.waitCode(t, 0)
			b.task.IO().Wait()
			if got := b.stdout.String(); !strings.Contains(got, c.want) {
				t.Errorf("%q is not in %s:\n%s", c.want, c.file, got)
			}
		})
	}
}

// TestClientUser names users and groups in every way that containerd knows; it
// looks them up in the container's files.
func TestClientUser(t *testing.T) {
	for user, want := range map[string]string{
		"guest":        "1234:5678",
		"guest:others": "1234:5679",
		"guest:77":     "1234:77",
		"1234":         "1234:5678",
		"99:guests":    "99:5678",
		"99:77":        "99:77",
	} {
		t.Run(user, func(t *testing.T) {
			leavesNothing(t)
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			p := tool(t, "/files.wasm", "write", "/data/mine", "text")
			p.spec = append(p.spec, oci.WithUser(user), bind(dir, "/data"))
			b := p.start(t)
			b.waitCode(t, 0)
			uid, gid := owner(t, filepath.Join(dir, "mine"))
			if got := fmt.Sprintf("%d:%d", uid, gid); got != want {
				t.Errorf("the file belongs to %s, not to %s", got, want)
			}
		})
	}
}

// TestClientUserNamespace gives containers user namespaces and snapshots that
// belong to them.
func TestClientUserNamespace(t *testing.T) {
	const id = 34
	one := func(host uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 0, HostID: host, Size: 65535}}
	}
	two := func(host, own uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: own}, {ContainerID: own, HostID: host, Size: 65535}}
	}
	// The client makes one remapped snapshot for each mapping, and a view of it
	// only where it is new, so that those that are to be views share none.
	for name, c := range map[string]struct {
		uids, gids []specs.LinuxIDMapping
		readonly   bool
		uid, gid   string // of the process on the host
	}{
		"writable":               {one(1000), one(2000), false, "1034", "2034"},
		"read-only":              {one(3000), one(4000), true, "3034", "4034"},
		"writable, two ranges":   {two(1000, 10), two(2000, 20), false, "1024", "2014"},
		"read-only, two ranges":  {two(3000, 10), two(4000, 20), true, "3024", "4014"},
		"writable, same as host": {one(0), one(0), false, "34", "34"},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			ctx := namespaced(t.Context())
			p := tool(t, "/sleep.wasm", "600000")
			p.spec = append(p.spec, oci.WithUIDGID(id, id), oci.WithUserNamespace(c.uids, c.gids))
			p.snapshot = func(id string, image containerd.Image) containerd.NewContainerOpts {
				if c.readonly {
					return containerd.WithUserNSRemappedSnapshotView(id, image, c.uids, c.gids)
				}
				return containerd.WithUserNSRemappedSnapshot(id, image, c.uids, c.gids)
			}
			p.task = []containerd.NewTaskOpts{
				containerd.WithUIDOwner(c.uids[0].HostID),
				containerd.WithGIDOwner(c.gids[0].HostID),
			}
			b := p.start(t)
			b.stdout.waitFor(t, "sleeping")
			for field, want := range map[string]string{"Uid": c.uid, "Gid": c.gid} {
				if got := strings.Fields(procStatus(t, b.task.Pid(), field))[0]; got != want {
					t.Errorf("the process has the %s %s on the host, not %s", field, got, want)
				}
			}
			root := procFile(b.task.Pid(), "root/")
			err := os.WriteFile(root+"new", nil, 0o600)
			if errors.Is(err, syscall.EROFS) != c.readonly {
				t.Errorf("writing to the root file system: %v; read-only: %v", err, c.readonly)
			}
			// The image's files belong to the root of the namespace.
			info, err := os.Stat(root + "etc/passwd")
			if err != nil {
				t.Fatal(err)
			}
			stat := info.Sys().(*syscall.Stat_t)
			if stat.Uid != c.uids[0].HostID || stat.Gid != c.gids[0].HostID {
				t.Errorf("the image's files belong to %d:%d on the host, not to %d:%d", stat.Uid, stat.Gid, c.uids[0].HostID, c.gids[0].HostID)
			}
			b.kill(t, syscall.SIGTERM)
			b.waitCode(t, 143)
			deleted, err := b.task.Delete(ctx)
			if err != nil || deleted.ExitCode() != 143 {
				t.Errorf("delete: %d, %v", deleted.ExitCode(), err)
			}
			b.task = nil
		})
	}
}

// TestClientReopen has a guest that is not root open its standard output by
// name, as programs do that are told to log to /dev/stdout.
func TestClientReopen(t *testing.T) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 65535}}
	for name, options := range map[string][]oci.SpecOpts{
		"root":           nil,
		"user":           {oci.WithUIDGID(guestUID, guestGID)},
		"user namespace": {oci.WithUIDGID(guestUID, guestGID), oci.WithUserNamespace(ids, ids)},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			p := tool(t, "/files.wasm", "write", "/dev/stdout", "by its name\n")
			p.spec = append(p.spec, options...)
			if name == "user namespace" {
				p.snapshot = func(id string, image containerd.Image) containerd.NewContainerOpts {
					return containerd.WithUserNSRemappedSnapshot(id, image, ids, ids)
				}
			}
			b := p.start(t)
			b.waitCode(t, 0)
			b.task.IO().Wait()
			if got := b.stdout.String(); got != "by its name\n" {
				t.Errorf("stdout %q", got)
			}
		})
	}
}
