package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
)

// TestInfo asks the program what it is, as containerd does before each create.
func TestInfo(t *testing.T) {
	leavesNothing(t)
	best := time.Hour
	for range 10 {
		begin := time.Now()
		out := shim(t, "", "-info")
		best = min(best, time.Since(begin))
		var info types.RuntimeInfo
		if err := proto.Unmarshal(out, &info); err != nil {
			t.Fatalf("%v: %q", err, out)
		}
		if info.Name != wasmRuntime || info.Features == nil {
			t.Fatalf("name %q, features %v", info.Name, info.Features)
		}
	}
	t.Logf("%v", best)
	if best > 30*time.Millisecond && !emulated {
		t.Errorf("-info takes %v", best)
	}
}

// TestVersion has people's answer, for both programs' build.
func TestVersion(t *testing.T) {
	leavesNothing(t)
	out := string(shim(t, "", "-version"))
	for _, want := range []string{shimProgram, "Version:", "Revision:"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
}

// TestLegacyStart starts a shim as containerd up to 2.2 and CRI-O do: nothing on
// stdin, a bare address as the answer, and Task version 2.
func TestLegacyStart(t *testing.T) {
	leavesNothing(t)
	bundle := t.TempDir()
	write(t, filepath.Join(bundle, "config.json"), `{"ociVersion":"1.0.2","annotations":{}}`)
	// The daemon makes a FIFO for the shim's log, which it reads.
	fifo := filepath.Join(bundle, "log")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	id := newID(t)
	out := shim(t, bundle, "-namespace", engine.Namespace, "-address", engine.Address(), "-id", id, "start")
	address, ok := strings.CutPrefix(string(out), "unix://")
	if !ok || strings.ContainsAny(address, " \n{") {
		t.Fatalf("the answer is no bare address: %q", out)
	}
	if got := read(t, filepath.Join(bundle, "address")); got != string(out) {
		t.Fatalf("the bundle's address file says %q, the answer was %q", got, out)
	}
	conn, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := ttrpc.NewClient(conn)
	defer c.Close()
	task := taskv2.NewTTRPCTaskClient(c)
	r, err := task.Connect(t.Context(), &taskv2.ConnectRequest{ID: id})
	if err != nil || r.ShimPid == 0 {
		t.Fatalf("connect: %v, %v", r, err)
	}
	// The shim may be gone before its answer is out.
	_, err = task.Shutdown(t.Context(), &taskv2.ShutdownRequest{ID: id})
	if err != nil && !errors.Is(err, ttrpc.ErrClosed) {
		t.Fatalf("shutdown: %v", err)
	}
}

// shim runs our shim by hand, in a bundle, and returns its stdout. It must
// succeed and keep stderr empty: daemons read both as one.
func shim(t *testing.T, bundle string, args ...string) []byte {
	t.Helper()
	program, err := engine.Program(shimProgram)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scaled(10*time.Second))
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = bundle, &stdout, &stderr
	cmd.Env = append(os.Environ(), "TTRPC_ADDRESS="+engine.Address()+".ttrpc")
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %s: %v, stderr %q", shimProgram, strings.Join(args, " "), err, &stderr)
	}
	return stdout.Bytes()
}

// parent is the parent of a process.
func parent(t *testing.T, pid int) int {
	t.Helper()
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", pid))) {
		if value, ok := strings.CutPrefix(line, "PPid:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("process %d has no parent", pid)
	return 0
}
