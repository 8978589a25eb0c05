package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/docs"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// logged waits until a line of a daemon's log has all of these parts.
func logged(t *testing.T, d *daemon.Daemon, parts ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("a line of the log with %q", parts), func() bool {
		for line := range strings.Lines(read(t, d.Log())) {
			if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
				return true
			}
		}
		return false
	})
}

// TestLog finds the life of a pod's container in containerd's log.
func TestLog(t *testing.T) {
	leavesNothing(t)
	b := plan{guest: "exit", args: []string{"3"}, spec: []oci.SpecOpts{oci.WithAnnotations(map[string]string{
		"io.kubernetes.cri.sandbox-id":        "pod",
		"io.kubernetes.cri.sandbox-namespace": "shop",
		"io.kubernetes.cri.sandbox-name":      "web",
	})}}.start(t)
	b.waitCode(t, 3)
	if err := b.remove(); err != nil {
		t.Fatal(err)
	}
	of := "container=" + b.ID()
	for _, message := range []string{"msg=created", "msg=started", "msg=exited", "msg=deleted"} {
		logged(t, engine, message, of, "level=info", "pod=shop/web", "module=/exit.wasm", "runtime="+wasmRuntime)
	}
	logged(t, engine, "msg=exited", of, "status=3", "pid=")
	for _, call := range []string{"Create", "Start", "Wait", "Delete"} {
		logged(t, engine, `msg="call `+call+`"`, of, "level=debug", "took=")
	}
}

// TestLogOfFailure finds out why a container was not created.
func TestLogOfFailure(t *testing.T) {
	leavesNothing(t)
	id := newID(t)
	if _, err := (plan{guest: "no-start"}).createWith(t, id); err == nil {
		t.Fatal("it was not refused")
	}
	logged(t, engine, "container not created", "container="+id, "level=info", "module=/no-start.wasm", "_start")
}

// TestLogAfterRestart has a containerd of its own, which goes and comes back; a
// shim's log then reaches the second one.
func TestLogAfterRestart(t *testing.T) {
	leavesNothing(t)
	dir, err := os.MkdirTemp(engine.Dir, "restart-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	start := func() *daemon.Daemon {
		ctx, cancel := context.WithTimeout(t.Context(), scaled(30*time.Second))
		defer cancel()
		d, err := daemon.Start(ctx, dir, engine.Path, engine.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	must := func(d *daemon.Daemon, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), scaled(30*time.Second))
		defer cancel()
		if out, err := d.Ctr(ctx, args...).CombinedOutput(); err != nil {
			t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}

	d := start()
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	archive := filepath.Join(dir, "image.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := image.Write(f, image.Image{
		Name:   imageName("spin"),
		Files:  map[string]string{"/spin.wasm": filepath.Join(os.Getenv("E2E_GUESTS"), "spin.wasm")},
		Config: v1.ImageConfig{Entrypoint: []string{"/spin.wasm"}},
	}); err != nil {
		t.Fatal(err)
	}
	must(d, "image", "import", archive)
	id := newID(t)
	must(d, "run", "--detach", "--null-io", "--runtime", wasmRuntime, imageName("spin"), id)
	logged(t, d, "msg=started", "container="+id)

	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	d = start() // with an empty log
	must(d, "task", "kill", "-s", "SIGTERM", id)
	logged(t, d, "msg=exited", "container="+id, "module=/spin.wasm", "status=143")
	must(d, "task", "delete", id)
	logged(t, d, "msg=deleted", "container="+id)
	must(d, "container", "delete", id)
	// Without a containerd the shim would wait half a minute to tell of the end.
	eventually(t, "the shim ends", func() bool { return running(t, shimProgram) == 0 })
}

// TestOperationsManual runs the commands of docs/operations.md, one after the
// other, about a container that is there.
func TestOperationsManual(t *testing.T) {
	leavesNothing(t)
	b := plan{guest: "spin"}.start(t)
	b.stdout.waitFor(t, "spinning")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "journalctl"), "#!/bin/sh\ncat '"+engine.Log()+"'\n")
	if err := os.Chmod(filepath.Join(dir, "journalctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := docs.Commands(docs.Operations)
	for reader, ours := range map[string]string{
		"ID=web ":                 "ID=" + b.ID() + " ",
		"NAMESPACE=default ":      "NAMESPACE=" + engine.Namespace + " ",
		"/run/containerd/":        engine.State() + "/",
		">/tmp/":                  ">" + dir + "/",
		" /tmp/":                  " " + dir + "/",
		"docker.io/library/app:1": imageName("spin"),
	} {
		if !strings.Contains(script, reader) {
			t.Fatalf("the manual's commands have no %q", reader)
		}
		script = strings.ReplaceAll(script, reader, ours)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scaled(60*time.Second))
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eux", "-c", script)
	cmd.Env = append(os.Environ(),
		"PATH="+dir+":"+engine.Path+":"+os.Getenv("PATH"),
		"CONTAINERD_ADDRESS="+engine.Address())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"msg=started",                              // the log
		"BEGIN goroutine stack dump",               // after SIGUSR1
		"\ngoroutine 1 [",                          // with lines
		"net/http/pprof",                           // ctr pprof goroutines
		`"Name": "io.containerd.wasm.v1"`,          // the runtime's features
		imageName("spin") + ": /spin.wasm sha256:", // its module is compiled
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in what the manual's commands say:\n%s", want, out)
		}
	}
	for file, magic := range map[string]string{"shim.heap": "\x1f\x8b", "shim.cpu": "\x1f\x8b", "shim.trace": "go 1."} {
		if data := read(t, filepath.Join(dir, file)); !bytes.HasPrefix([]byte(data), []byte(magic)) {
			t.Errorf("%s is no profile: %.80q", file, data)
		}
	}
	b.waitCode(t, 143) // the manual's kill
}
