// Package deploy has the node installer install and uninstall the runtime on
// nodes: root file systems with a real containerd in them, as containers of a
// DaemonSet see them at /host.
//
// The environment is that of package e2e; every folder of -releases has the
// containerd and ctr of one release.
package deploy

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

var releases = flag.String("releases", "", "`folders` of containerd's releases, as in $PATH")

// dir is the test's folder. Its name is that of the control groups, which are
// removed with it.
var dir string

func TestMain(m *testing.M) {
	dir = isolate.Enter("deploy")
	flag.Parse()
	os.Exit(m.Run())
}

// release is the folder of a release whose first numbers are those.
func release(t *testing.T, number string) string {
	t.Helper()
	for _, folder := range filepath.SplitList(*releases) {
		if filepath.Base(folder) == "containerd-"+number || number == "2" && filepath.Base(folder) == "bin" {
			return folder
		}
	}
	t.Fatalf("no containerd %s in -releases=%s; run `make test-deploy`", number, *releases)
	return ""
}

func guest(name string) string { return filepath.Join(os.Getenv("E2E_GUESTS"), name+".wasm") }
