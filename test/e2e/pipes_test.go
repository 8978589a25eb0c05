package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"golang.org/x/sys/unix"
)

// pipes is a folder with FIFOs that nobody else opens and a socket.
func pipes(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"fifo", "writing", "stdin"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return dir
}

// inOnePod makes containers share a shim.
var inOnePod = oci.WithAnnotations(map[string]string{"io.kubernetes.cri.sandbox-id": "pipes"})

// TestPipesBlockOnlyTheGuest has guests of one shim wait for FIFOs that nobody
// else opens, for ever. Meanwhile the shim answers, and it ends them at once.
func TestPipesBlockOnlyTheGuest(t *testing.T) {
	leavesNothing(t)
	dir := pipes(t)
	fifo := filepath.Join(dir, "fifo")
	pod := func(p plan) *box {
		p.spec = append(p.spec, inOnePod, bind(dir, "/vol"))
		return p.start(t)
	}
	neighbour := pod(plan{guest: "sleep", args: []string{"600000"}})
	neighbour.stdout.waitFor(t, "sleeping")
	stuck := map[string]*box{
		"reading":  pod(plan{guest: "files", args: []string{"read", "/vol/fifo"}}),
		"a volume": pod(plan{guest: "files", args: []string{"read", "/data"}, spec: []oci.SpecOpts{bind(fifo, "/data")}}),
		"writing":  pod(plan{guest: "files", args: []string{"append", "/vol/writing", "text"}}),
		"stdin":    pod(plan{guest: "cat", io: given(cio.Config{Stdin: filepath.Join(dir, "stdin")})}),
	}
	for how, b := range stuck {
		call := uintptr(unix.SYS_OPENAT2)
		if how == "stdin" {
			call = unix.SYS_READV
		}
		eventually(t, how+": the guest blocks", func() bool { return inCall(b.task.Pid(), call) })
	}

	ctx, cancel := context.WithTimeout(namespaced(t.Context()), scaled(10*time.Second))
	defer cancel()
	for how, b := range stuck {
		if status, err := b.task.Status(ctx); err != nil || status.Status != containerd.Running {
			t.Errorf("%s: the task is %s, %v", how, status.Status, err)
		}
		if _, err := b.task.Metrics(ctx); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if pids, err := b.task.Pids(ctx); err != nil || len(pids) != 1 {
			t.Errorf("%s: processes %v, %v", how, pids, err)
		}
	}
	exec := neighbour.spawn(t, "module", nil, "/vol/fifo")
	if err := exec.Start(ctx); err == nil || !strings.Contains(err.Error(), "module /vol/fifo: is not a regular file but a FIFO") {
		t.Errorf("exec of a FIFO: %v", err)
	}
	exec.delete(t)
	stuck["reading"].kill(t, syscall.SIGTERM)
	stuck["reading"].waitCode(t, 143)
	for _, how := range []string{"a volume", "writing", "stdin"} {
		stuck[how].kill(t, syscall.SIGKILL)
		stuck[how].waitCode(t, 137)
	}
	for how, b := range stuck {
		if _, err := b.task.Delete(ctx); err != nil {
			t.Errorf("%s: delete: %v", how, err)
		}
	}
	if n := running(t, shimProgram); n != 1 || neighbour.status(t) != containerd.Running {
		t.Errorf("%d shims, and the neighbour is %s", n, neighbour.status(t))
	}
}

// TestPipesInPlaceOfFiles has FIFOs and sockets where files are due. Nothing waits
// for their other end.
func TestPipesInPlaceOfFiles(t *testing.T) {
	leavesNothing(t)
	dir := pipes(t)
	fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	for name, c := range map[string]struct {
		plan plan
		want string // in the error of creating it
	}{
		"module, FIFO":         {plan{guest: "hello-c", spec: []oci.SpecOpts{oci.WithProcessArgs("/vol/fifo")}}, "module /vol/fifo: is not a regular file but a FIFO"},
		"module, socket":       {plan{guest: "hello-c", spec: []oci.SpecOpts{oci.WithProcessArgs("/vol/socket")}}, "module /vol/socket: is not a regular file but a socket"},
		"module, covered":      {plan{guest: "hello-c", spec: []oci.SpecOpts{bind(fifo, "/hello-c.wasm")}}, "module /hello-c.wasm: is not a regular file but a FIFO"},
		"working directory":    {plan{guest: "hello-c", spec: []oci.SpecOpts{oci.WithProcessCwd("/vol/fifo")}}, "process.cwd: /vol/fifo: not a directory"},
		"working directory, 2": {plan{guest: "hello-c", spec: []oci.SpecOpts{oci.WithProcessCwd("/vol/socket/dir")}}, "process.cwd: /vol/socket/dir: not a directory"},
		"stdin, socket":        {plan{guest: "hello-c", io: given(cio.Config{Stdin: socket})}, "stdin: open " + socket},
		"a folder's volume":    {plan{guest: "hello-c", spec: []oci.SpecOpts{bind(fifo, "/proc")}}, "/proc"},
	} {
		t.Run(name, func(t *testing.T) {
			c.plan.spec = append(c.plan.spec, bind(dir, "/vol"))
			_, err := c.plan.tryCreate(t)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	b := plan{guest: "escape", args: []string{"open", "/vol/socket", "/data"}, spec: []oci.SpecOpts{bind(dir, "/vol"), bind(socket, "/data")}}.start(t)
	b.waitCode(t, 0)
	wantOutcomes(t, b, "/vol/socket: NXIO NXIO | IO IO\n/data: NXIO NXIO | IO IO\n")
}

// inCall says whether a thread of a process is in that system call.
func inCall(pid uint32, number uintptr) bool {
	files, _ := filepath.Glob(procFile(pid, "task/*/syscall")) // the pattern is good
	for _, file := range files {
		call, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(call), fmt.Sprint(number)+" ") {
			return true
		}
	}
	return false
}

// given are standard streams that exist already and stay.
func given(config cio.Config) cio.Creator {
	return func(string) (cio.IO, error) { return givenIO{config}, nil }
}

type givenIO struct{ config cio.Config }

func (g givenIO) Config() cio.Config { return g.config }
func (givenIO) Cancel()              {}
func (givenIO) Wait()                {}
func (givenIO) Close() error         { return nil }
