package bootstrap

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"golang.org/x/sys/unix"
)

func testAddress(t *testing.T) string {
	t.Helper()
	address, err := socketAddress(request{socketDir: socketDir(t), namespace: "default"}, "c1")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// socketDir is a directory with a path short enough for sockets.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestSocketAddressTellsGroupsApart(t *testing.T) {
	base := request{socketDir: "/run/s", namespace: "default", grpcAddress: "/a.sock"}
	otherNamespace, otherDaemon := base, base
	otherNamespace.namespace = "k8s.io"
	otherDaemon.grpcAddress = "/b.sock"
	library, err := shim.CreateSocketAddress(namespaces.WithNamespace(context.Background(), "default"), "/run/s", "/a.sock", "g", false)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{library: "a shim of containerd's own"}
	for name, c := range map[string]struct {
		r     request
		group string
	}{"base": {base, "g"}, "group": {base, "h"}, "namespace": {otherNamespace, "g"}, "daemon": {otherDaemon, "g"}} {
		address, err := socketAddress(c.r, c.group)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(address, "unix:///run/s/") {
			t.Errorf("%s: address %s", name, address)
		}
		if before, taken := seen[address]; taken {
			t.Errorf("%s has the socket of %s", name, before)
		}
		seen[address] = name
		if again, _ := socketAddress(c.r, c.group); again != address {
			t.Errorf("%s: %s, then %s", name, address, again)
		}
	}
}

func TestSocketDirectoryTooLong(t *testing.T) {
	dir := "/" + strings.Repeat("d", 60) // 1 + 60 + 1 + 45 bytes
	if address, err := socketAddress(request{socketDir: dir}, "g"); err != nil {
		t.Errorf("the longest path: %v", err)
	} else if len(socketPath(address)) != maxSocketPath {
		t.Errorf("the longest path has %d bytes", len(socketPath(address)))
	}
	_, err := socketAddress(request{socketDir: dir + "d"}, "g")
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a path that is too long gives %v", err)
	}
}

func TestSweepRemovesWhatIsDead(t *testing.T) {
	dir := socketDir(t)
	listen := func(path string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, path)})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		t.Cleanup(func() { l.Close() })
		return l
	}
	living, dead, foreign := listen("wasm-living"), listen("wasm-dead"), listen("foreign")
	dead.Close()
	foreign.Close()
	if err := sweep(dir); err != nil {
		t.Fatal(err)
	}
	noFile(t, dead.Addr().String())
	for _, l := range []*net.UnixListener{living, foreign} {
		if _, err := os.Stat(l.Addr().String()); err != nil {
			t.Error(err)
		}
	}
	// It was not even asked.
	if err := living.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if conn, err := living.Accept(); err == nil {
		conn.Close()
		t.Error("the sweep connected to a living shim")
	}
	if err := sweep(filepath.Join(dir, "none")); err != nil {
		t.Errorf("no directory: %v", err)
	}
}

// A socket that the kernel's list does not have may be a living shim's in
// another network namespace.
func TestSweepSparesOtherNetworks(t *testing.T) {
	dir := socketDir(t)
	done := make(chan error)
	var l net.Listener
	go func() { // on a thread that is not used again
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			l, err = net.Listen("unix", filepath.Join(dir, "wasm-far"))
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := sweep(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.Addr().String()); err != nil {
		t.Error(err)
	}
}

func TestClaim(t *testing.T) {
	address := testAddress(t)
	path := socketPath(address)

	first, err := claim(address)
	if err != nil || first == nil {
		t.Fatalf("a new address: %v, %v", first, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	if second, err := claim(address); err != nil || second != nil {
		t.Errorf("a living shim: %v, %v", second, err)
	}
	if err := removeIfDead(address); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a living shim's socket: %v", err)
	}

	first.Close()
	third, err := claim(address)
	if err != nil || third == nil {
		t.Fatalf("a dead shim's address: %v, %v", third, err)
	}
	third.Close()
	if err := removeIfDead(address); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a dead shim's socket: %v", err)
	}
	if err := removeIfDead(address); err != nil {
		t.Errorf("no socket: %v", err)
	}
	if err := removeIfDead("unix:///no/such/directory/s"); err != nil {
		t.Errorf("no directory: %v", err)
	}
}

func TestOnlyOneClaims(t *testing.T) {
	address := testAddress(t)
	for range 50 {
		var wg sync.WaitGroup
		won := make(chan *net.UnixListener, 8)
		for range cap(won) {
			wg.Go(func() {
				l, err := claim(address)
				if err != nil {
					t.Error(err)
				}
				if l != nil {
					won <- l
				}
			})
		}
		wg.Wait()
		close(won)
		if len(won) != 1 {
			t.Fatalf("%d listeners", len(won))
		}
		for l := range won {
			l.Close() // its socket is left, dead, to the next round
		}
	}
}

func TestWithdrawLeavesTheNextShimAlone(t *testing.T) {
	address := testAddress(t)
	t.Chdir(t.TempDir())
	own := func() (*net.UnixListener, *ownSocket) {
		t.Helper()
		l, err := claim(address)
		if err != nil || l == nil {
			t.Fatal(l, err)
		}
		t.Cleanup(func() { l.Close() })
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s, err := inheritedSocket(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return l, s
	}
	writeFile(t, addressFile, address)
	_, first := own()
	first.withdraw(t.Context())
	for _, path := range []string{socketPath(address), addressFile} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("after withdraw, %s: %v", filepath.Base(path), err)
		}
	}

	old, second := own()
	old.Close()
	own() // takes over what looks dead
	second.withdraw(t.Context())
	if living, err := probe(socketPath(address)); err != nil || !living {
		t.Errorf("the next shim's socket: living %v, %v", living, err)
	}
}

func TestInheritedSocketIsASocket(t *testing.T) {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s, err := inheritedSocket(int(f.Fd())); err == nil {
		t.Errorf("/dev/null is taken for %+v", s)
	}
}
