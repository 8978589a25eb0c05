package bootstrap

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// startDebugging starts container id as containerd does when its own log level
// is debug.
func startDebugging(t *testing.T, dir, id string) (address string, pid int) {
	t.Helper()
	stdout, stderr, err := runShim(t, dir, nil, nil, slices.Insert(startArgs(id), 0, "-debug")...)
	if err != nil || stderr != "" {
		t.Fatalf("start: %v, stderr %q", err, stderr)
	}
	return stdout, shimPid(t, stdout)
}

func TestProfiles(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	address, pid := startDebugging(t, dir, "c1")
	socket := filepath.Join(dir, debugSocket)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("debug socket: %v, %v", info, err)
	}
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	gzip, trace := []byte("\x1f\x8b"), []byte("go 1.")
	for path, want := range map[string][]byte{
		"heap":                  gzip, // as pprof's profiles are written
		"goroutine?debug=2":     []byte("goroutine "),
		"profile?seconds=1":     gzip,
		"trace?seconds=0.1":     trace,
		"":                      []byte("<html>"),
		"no-such-profile":       []byte("Unknown profile"),
		"goroutine?debug=1&x=y": []byte("goroutine profile: total"),
	} {
		response, err := client.Get("http://shim/debug/pprof/" + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.HasPrefix(body, want) {
			t.Errorf("%s: %v, %.80q", path, err, body)
		}
	}
	shutDown(t, address)
	waitGone(t, pid)
}

// The socket that a killed shim has left does not keep the next from starting.
func TestDebugSocketIsReplaced(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	_, first := startDebugging(t, dir, "c1")
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitGone(t, first)
	address, second := startDebugging(t, dir, "c1")
	conn, err := net.Dial("unix", filepath.Join(dir, debugSocket))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	shutDown(t, address)
	waitGone(t, second)
}

// Nobody has asked for profiles, so there is no socket.
func TestNoProfilesUnasked(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	address := startLegacy(t, dir, "c1")
	pid := shimPid(t, address)
	noFile(t, filepath.Join(dir, debugSocket))
	shutDown(t, address)
	waitGone(t, pid)
}
