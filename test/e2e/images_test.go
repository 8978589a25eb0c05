package e2e

import (
	"context"
	"debug/buildinfo"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/docs"
)

// serveRegistry runs a registry on loopback and returns its host and port.
func serveRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// wasmImage runs wasm-image, which shall succeed.
func wasmImage(t *testing.T, args ...string) {
	t.Helper()
	program, err := engine.Program("wasm-image")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scaled(60*time.Second))
	defer cancel()
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		t.Fatalf("wasm-image %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func guestFile(guest string) string {
	return filepath.Join(os.Getenv("E2E_GUESTS"), guest+".wasm")
}

// TestImageForms makes images of all forms and gives them to ctr, which makes of
// them what the table in docs/images.md says.
func TestImageForms(t *testing.T) {
	leavesNothing(t)
	host := serveRegistry(t)
	const wasi = "wasi/wasm"
	for name, c := range map[string]struct {
		build     []string // how the image is made
		platform  string   // what ctr is asked for; its own if empty
		doesntRun string   // what `ctr run` says where it does not run it
	}{
		"rootfs":                  {},
		"rootfs-of-another-cpu":   {build: []string{"--platform", "linux/s390x"}},
		"rootfs-index":            {build: []string{"--platform", "linux/arm64,linux/amd64"}},
		"rootfs-wasi":             {build: []string{"--platform", wasi}},
		"rootfs-wasi-index":       {build: []string{"--platform", "wasi/wasm,wasip1/wasm"}, platform: wasi},
		"rootfs-wasi-index-plain": {build: []string{"--platform", "wasi/wasm,wasip1/wasm"}, doesntRun: "no match for platform"},
		"layer":                   {build: []string{"--form", "layer"}},
		"artifact":                {build: []string{"--form", "artifact"}, doesntRun: "unknown image config media type"},
	} {
		t.Run(name, func(t *testing.T) {
			image := host + "/" + name + ":1"
			wasmImage(t, append([]string{"build", guestFile("hello-c"), image}, c.build...)...)
			pull, run := []string{"image", "pull", "--plain-http"}, []string{"run", "--rm", "--runtime", wasmRuntime}
			if c.platform != "" {
				pull = append(pull, "--local", "--platform", c.platform)
				run = append(run, "--platform", c.platform)
			}
			mustCtr(t, append(pull, image)...)

			archive := filepath.Join(t.TempDir(), "image.tar")
			imported := "e2e.local/imported-" + name + ":1"
			wasmImage(t, append([]string{"build", guestFile("hello-c"), "tar:" + archive + "@" + imported}, c.build...)...)
			mustCtr(t, "image", "import", archive)
			for _, image := range []string{image, imported} {
				id := newID(t)
				r := ctr(t, append(run, image, id)...)
				if c.doesntRun != "" {
					r.wantCode(t, 1)
					r.wantStderr(t, c.doesntRun)
					continue
				}
				r.wantCode(t, 0)
				r.wantStdout(t, "hello from c\n")
			}
		})
	}
}

// TestImagesAreNoPartOfTheRuntime looks into the programs that every container
// pays for.
func TestImagesAreNoPartOfTheRuntime(t *testing.T) {
	for _, name := range []string{shimProgram, sandboxProgram} {
		program, err := engine.Program(name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		if len(info.Deps) == 0 {
			t.Errorf("%s does not say what it is made of", name)
		}
		for _, dep := range info.Deps {
			if dep.Path == "github.com/google/go-containerregistry" {
				t.Errorf("%s links %s", name, dep.Path)
			}
		}
	}
}

// TestImageSettings runs an image that says how it wants to be run, and that has
// files beside the module.
func TestImageSettings(t *testing.T) {
	leavesNothing(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(data, "here"), "found by a relative path\n")
	archive := filepath.Join(dir, "image.tar")
	const image = "e2e.local/settings:1"
	wasmImage(t, "build", "--add", data+":/work", "--workdir", "/work", "--user", "1:1",
		guestFile("cwd"), "tar:"+archive+"@"+image)
	mustCtr(t, "image", "import", archive)
	r := ctr(t, "run", "--rm", "--runtime", wasmRuntime, image, newID(t))
	r.wantCode(t, 0)
	r.wantStdout(t, "/work\nfound by a relative path\n")
}

// TestImageManual runs the commands of docs/images.md, one after the other, in a
// folder that has the files of which they speak.
func TestImageManual(t *testing.T) {
	leavesNothing(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "public"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"app.wasm":          read(t, guestFile("env")),
		"library.wasm":      read(t, guestFile("reactor")),
		"app.conf":          "x = 1\n",
		"public/index.html": "<p>Hello\n",
	} {
		write(t, filepath.Join(dir, file), text)
	}
	script := docs.Commands(docs.Images)
	if !strings.Contains(script, "REGISTRY=127.0.0.1:5000\n") {
		t.Fatal("the manual does not name the registry")
	}
	script = strings.Replace(script, "REGISTRY=127.0.0.1:5000\n", "REGISTRY="+serveRegistry(t)+"\n", 1)
	ctx, cancel := context.WithTimeout(t.Context(), scaled(120*time.Second))
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"PATH="+engine.Path+":"+os.Getenv("PATH"),
		"CONTAINERD_ADDRESS="+engine.Address(),
		"CONTAINERD_NAMESPACE="+engine.Namespace,
		"DOCKER_CONFIG="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"\nMODE=production\n",           // the settings
		"run: initialised\n",            // the library's function
		"yes, from its function _start", // inspect
		"org.opencontainers.image.source=https://example.org/app\n", // its labels
		"form           artifact\n",                                 // what ORAS made
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in what the manual's commands say:\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "\nPWD=/"); n != 3 {
		t.Errorf("%d of the containers of app.wasm ran, not 3:\n%s", n, out)
	}
}
