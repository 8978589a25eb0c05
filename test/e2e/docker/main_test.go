// Package docker runs a Wasm guest under Docker, and beside it the same program
// as a Linux container on runc: the table of docs/docker.md.
//
// The environment is that of package e2e, and E2E_GUESTS has the guest for WASI
// and for Linux. The folder -docker has a Docker Engine, and -old the one of
// Debian 12. -docs is the file with the table, which is written with -update, and
// compared without.
package docker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

var (
	current  = flag.String("docker", "", "the `folder` of a Docker Engine")
	old      = flag.String("old", "", "the `folder` of Docker 20.10")
	document = flag.String("docs", "", "the `file` with the table")
	update   = flag.Bool("update", false, "write the table")
)

const wasmRuntime = "io.containerd.wasm.v1"

// dir is the test's folder. Its name is that of the control groups, which are
// removed with it.
var dir string

func TestMain(m *testing.M) {
	dir = isolate.Enter("docker", isolate.Network)
	flag.Parse()
	os.Exit(m.Run())
}

// engine is a Docker Engine with one of its image stores.
type engine struct {
	*daemon.Docker
	imageStore bool
}

// start starts an engine, which ends with the test.
func start(t *testing.T, folder string, imageStore bool) engine {
	t.Helper()
	own, err := os.MkdirTemp(dir, "engine-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := daemon.StartDocker(ctx, own, folder, os.Getenv("E2E_BIN"), imageStore, filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return engine{d, imageStore}
}

// docker runs a docker command: what it wrote to either stream, and its exit code.
func (e engine) docker(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := e.Command(ctx, args...).CombinedOutput()
	if ctx.Err() != nil {
		t.Errorf("docker %q hangs: %s", args, out)
		return string(out), -1
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Errorf("docker %q: %v", args, err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(out), code
}

// must is docker for a command that does not fail; without white space around it.
func (e engine) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := e.docker(t, args...)
	if code != 0 {
		t.Errorf("docker %q: exit code %d: %s", args, code, out)
	}
	return strings.TrimSpace(out)
}

// load makes an image with the guest and a user, and loads it.
func (e engine) load(t *testing.T, name, guest string, p v1.Platform) (output string, code int) {
	t.Helper()
	passwd := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(passwd, []byte("root:x:0:0::/:/app\napp:x:1234:1234::/:/app\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	archive, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if err := image.Write(archive, image.Image{
		Name:     name,
		Files:    map[string]string{"/app": filepath.Join(os.Getenv("E2E_GUESTS"), guest), "/etc/passwd": passwd},
		Config:   v1.ImageConfig{Entrypoint: []string{"/app"}},
		Platform: p,
	}); err != nil {
		t.Fatal(err)
	}
	return e.docker(t, "load", "--input", file)
}

// A runner runs the guest on one runtime of an engine, each time in a container of
// its own.
type runner struct {
	engine
	*testing.T
	runtime string
	image   string
	name    string // of the container at hand
}

// wasm says whether the runner's is this project's runtime.
func (r runner) wasm() bool { return r.runtime == wasmRuntime }

// args are those of docker run or create, with the guest's after them.
func (r runner) args(command string, options []string, guest ...string) []string {
	all := []string{command, "--name", r.name, "--pull", "never", "--runtime", r.runtime}
	if !strings.Contains(strings.Join(options, " "), "--network") {
		all = append(all, "--network", "none")
	}
	return append(append(append(all, options...), r.image), guest...)
}

// run runs a container to its end: what it wrote, and the exit code if it is not 0.
func (r runner) run(options []string, guest ...string) string {
	r.Helper()
	out, code := r.docker(r.T, r.args("run", append(options, "--rm"), guest...)...)
	return outcome(out, code)
}

func outcome(out string, code int) string {
	out = strings.TrimSpace(out)
	if code != 0 {
		out = strings.TrimSpace(fmt.Sprintf("%s exit %d", out, code))
	}
	return out
}

// start starts a container in the background, whose first line is awaited.
func (r runner) start(options []string, guest ...string) {
	r.Helper()
	r.must(r.T, r.args("run", append(options, "--detach"), guest...)...)
	r.until("the container writes", func() bool { out, _ := r.docker(r.T, "logs", r.name); return out != "" })
}

// inspect is a field of the container.
func (r runner) inspect(field string) string {
	r.Helper()
	return r.must(r.T, "container", "inspect", "--format", "{{"+field+"}}", r.name)
}

func (r runner) until(what string, is func() bool) {
	r.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Errorf("%s, %s: not after 30 s: %s", r.name, what, r.must(r.T, "container", "inspect", "--format", "{{json .State}}", r.name))
			return
		}
	}
}
