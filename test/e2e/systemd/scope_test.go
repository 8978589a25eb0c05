// Package systemd tests containers in scopes of systemd's. It is for the tests'
// virtual machine, where systemd is the first process: no pid namespace may be
// between it and the shim, for a scope is made of a pid as systemd knows it.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const scope = "wasm-scope.scope"

// imageName is that of a program's image.
func imageName(program string) string { return "test.local/" + program + ":latest" }

// startDaemon starts a containerd that has the images of two programs that compute
// for ever, a guest and a Linux program.
func startDaemon(t *testing.T) *daemon.Daemon {
	t.Helper()
	dir := t.TempDir()
	d, err := daemon.Start(t.Context(), dir, os.Getenv("E2E_BIN"), "systemd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	native, err := d.Program("native")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "image.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	err = image.Write(f, image.Image{
		Name:   imageName("native"),
		Files:  map[string]string{"/native": native},
		Config: v1.ImageConfig{Entrypoint: []string{"/native", "spin"}},
	}, image.Image{
		Name:   imageName("spin"),
		Files:  map[string]string{"/spin.wasm": filepath.Join(os.Getenv("E2E_GUESTS"), "spin.wasm")},
		Config: v1.ImageConfig{Entrypoint: []string{"/spin.wasm"}},
	})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	ctr(t, d, "image", "import", archive)
	return d
}

func ctr(t *testing.T, d *daemon.Daemon, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := d.Ctr(ctx, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// property returns a property of the scope as systemd has it.
func property(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("systemctl", "show", "--value", "-p", name, scope).CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl show: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestScope(t *testing.T) {
	d := startDaemon(t)
	for _, program := range []string{"spin", "native"} {
		t.Run(program, func(t *testing.T) { testScope(t, d, program) })
	}
}

func testScope(t *testing.T, d *daemon.Daemon, program string) {
	ctr(t, d, "run", "-d", "--runtime", "io.containerd.wasm.v1", "--cgroup", "system.slice:wasm:scope",
		"--memory-limit", "67108864", imageName(program), "c")
	for name, want := range map[string]string{"ActiveState": "active", "Slice": "system.slice", "MemoryMax": "67108864"} {
		if got := property(t, name); got != want {
			t.Errorf("%s of the scope is %q, want %q", name, got, want)
		}
	}
	list := strings.Fields(ctr(t, d, "task", "ls"))
	pid := list[len(list)-2]
	membership, err := os.ReadFile(fmt.Sprintf("/proc/%s/cgroup", pid))
	if err != nil || !strings.Contains(string(membership), "/system.slice/"+scope) {
		t.Errorf("the process is in %q, %v", membership, err)
	}
	if metrics := ctr(t, d, "task", "metrics", "c"); !strings.Contains(metrics, "67108864") {
		t.Errorf("the metrics have no memory limit:\n%s", metrics)
	}
	ctr(t, d, "task", "pause", "c")
	if tasks := ctr(t, d, "task", "ls"); !strings.Contains(tasks, "PAUSED") {
		t.Errorf("paused, the task is\n%s", tasks)
	}
	ctr(t, d, "task", "resume", "c")
	ctr(t, d, "task", "kill", "-s", "SIGKILL", "c")
	for range 200 {
		if strings.Contains(ctr(t, d, "task", "ls"), "STOPPED") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	ctr(t, d, "container", "rm", "c") // which deletes the task, too
	for range 200 {
		if property(t, "ActiveState") == "inactive" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("the scope is still %s", property(t, "ActiveState"))
}
