// Package e2e runs Wasm containers under a real containerd, by ctr as a user
// does and by containerd's client, and looks for what they leave behind.
//
// The environment tells where things are, so that the compiled test can run on
// another machine:
//
//	E2E_BIN     folders of containerd, ctr, runc, its shim and ours, as in $PATH
//	E2E_GUESTS  folder of the guests' modules
//	E2E_SCALE   "vm" on an emulated processor: less of the same, and no bounds
//	            on time where the processor decides
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

const (
	wasmRuntime = "io.containerd.wasm.v1"
	runcRuntime = "io.containerd.runc.v2"

	shimProgram    = "containerd-shim-wasm-v1"
	sandboxProgram = "wasm-sandbox"
)

// What every test uses; TestMain sets it and nothing changes it later.
var (
	engine   *daemon.Daemon
	client   *containerd.Client
	emulated = os.Getenv("E2E_SCALE") == "vm"
	unified  bool // cgroup v2
	before   isolate.Residue
)

func TestMain(m *testing.M) {
	dir := isolate.Enter("e2e")
	code, err := run(m, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, dir string) (code int, err error) {
	path, guests := os.Getenv("E2E_BIN"), os.Getenv("E2E_GUESTS")
	if path == "" || guests == "" {
		return 1, errors.New("E2E_BIN and E2E_GUESTS are not set; run `make test-e2e`")
	}
	_, err = os.Stat("/sys/fs/cgroup/cgroup.controllers")
	unified = err == nil

	ctx, cancel := context.WithTimeout(context.Background(), scaled(30*time.Second))
	defer cancel()
	engine, err = daemon.Start(ctx, dir, path, filepath.Base(dir))
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	client, err = containerd.New(engine.Address(), containerd.WithDefaultNamespace(engine.Namespace))
	if err != nil {
		return 1, err
	}
	defer client.Close()
	if err := importImages(namespaced(ctx), guests); err != nil {
		return 1, err
	}
	before, err = takeResidue()
	if err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// importImages makes one image of each guest, and one of the native program.
func importImages(ctx context.Context, guests string) error {
	modules, err := filepath.Glob(filepath.Join(guests, "*.wasm"))
	if err != nil {
		return err
	}
	if len(modules) == 0 {
		return fmt.Errorf("no guests in %s: run `make guests`", guests)
	}
	var images []image.Image
	for _, module := range modules {
		file := filepath.Base(module)
		images = append(images, image.Image{
			Name:   imageName(strings.TrimSuffix(file, ".wasm")),
			Files:  map[string]string{"/" + file: module},
			Config: v1.ImageConfig{Entrypoint: []string{"/" + file}},
		})
	}
	native, err := engine.Program("native")
	if err != nil {
		return err
	}
	images = append(images, image.Image{
		Name:   imageName("native"),
		Files:  map[string]string{"/native": native},
		Config: v1.ImageConfig{Entrypoint: []string{"/native"}},
	})

	archive := filepath.Join(engine.Dir, "images.tar")
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	if err := errors.Join(image.Write(f, images...), f.Close()); err != nil {
		return err
	}
	if out, err := engine.Ctr(ctx, "image", "import", archive).CombinedOutput(); err != nil {
		return fmt.Errorf("ctr image import: %w\n%s", err, out)
	}
	return os.Remove(archive)
}

// imageName is the reference of the image that holds a guest.
func imageName(guest string) string { return "e2e.local/" + guest + ":latest" }

// scaled stretches a time limit for an emulated processor.
func scaled(d time.Duration) time.Duration {
	if emulated {
		return 15 * d
	}
	return d
}

// cOrGo names the guests that do the same thing, one in C and one in Go. The
// compilation of a Go program takes an emulated processor 20 s, so there it is
// left to the tests that are about Go.
func cOrGo(c, golang string) []string {
	if emulated {
		return []string{c}
	}
	return []string{c, golang}
}

func namespaced(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, engine.Namespace)
}
