// Package arrivals has real containerds, and Docker on top of one, get an image of
// every form in every way that they know, and run it: the tables of
// docs/images.md.
//
// The environment is that of package e2e; every folder of -releases has the
// containerd and ctr of one release, and the folder -docker has a Docker Engine,
// which runs on the last of them. -docs is the file with the table, which is
// written with -update, and compared without.
package arrivals

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

var (
	releases = flag.String("releases", "", "`folders` of containerd's releases, as in $PATH")
	engine   = flag.String("docker", "", "the `folder` of a Docker Engine")
	document = flag.String("docs", "", "the `file` with the table")
	update   = flag.Bool("update", false, "write the table")
)

// dir is the test's folder. Its name is that of the control groups, which are
// removed with it.
var dir string

func TestMain(m *testing.M) {
	dir = isolate.Enter("arrivals", isolate.Network)
	flag.Parse()
	os.Exit(m.Run())
}

// host is a containerd with CRI.
type host struct {
	*daemon.Daemon
	version string
	runs    int
}

func start(t *testing.T, release string) *host {
	t.Helper()
	folder, err := os.MkdirTemp(dir, "containerd-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	path := release + string(filepath.ListSeparator) + os.Getenv("E2E_BIN")
	d, err := daemon.StartCRI(ctx, folder, path, pauseImage)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	client, err := containerd.New(d.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	version, err := client.Version(ctx)
	if err != nil {
		t.Fatal(err)
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(version.Version, "v"), "+")
	return &host{Daemon: d, version: number}
}

// ctr runs ctr in a containerd namespace.
func (h *host) ctr(t *testing.T, namespace string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := h.Ctr(ctx, append([]string{"--namespace", namespace}, args...)...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("ctr %q hangs: %s", args, out)
	}
	return string(out), err
}

func guest(name string) string { return filepath.Join(os.Getenv("E2E_GUESTS"), name+".wasm") }
