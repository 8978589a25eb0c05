// Package pods has a real containerd's CRI make pods with and without a pause
// container, and containers of both kinds in them. The environment is that of
// package e2e.
package pods

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

// The handlers of containerd's configuration.
const (
	withPause    = "wasm"
	withoutPause = "wasm-shim"
)

const handlers = `
    [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.wasm-shim]
      runtime_type = 'io.containerd.wasm.v1'
      sandboxer = 'shim'
      disable_pause_image_pull = true
      [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.wasm-shim.options]
        CacheDir = %q
`

const (
	pauseImage  = "pods.local/pause:1"
	nativeImage = "pods.local/native:1"
)

// What every test uses; TestMain sets it.
var (
	engine *daemon.Daemon
	pods   cri.RuntimeServiceClient
	images cri.ImageServiceClient
)

func TestMain(m *testing.M) {
	dir := isolate.Enter("pods")
	code, err := run(m, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pods:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, dir string) (code int, err error) {
	path := os.Getenv("E2E_BIN")
	if path == "" || os.Getenv("E2E_GUESTS") == "" {
		return 1, errors.New("E2E_BIN and E2E_GUESTS are not set; run `make test-e2e`")
	}
	if err := start(dir, path); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	if err := importImages(); err != nil {
		return 1, err
	}
	conn, err := grpc.NewClient("unix:"+engine.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 1, err
	}
	defer conn.Close()
	pods, images = cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)
	if err := awaitImages(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// start starts containerd, or starts it again.
func start(dir, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	d, err := daemon.StartCRI(ctx, dir, path, pauseImage, fmt.Sprintf(handlers, filepath.Join(dir, "cache")))
	if err == nil {
		engine = d
	}
	return err
}

// guestImage is the reference of the image that holds a guest.
func guestImage(guest string) string { return "pods.local/" + guest + ":1" }

func importImages() error {
	native, err := engine.Program("native")
	if err != nil {
		return err
	}
	all := []image.Image{
		{Name: pauseImage, Files: map[string]string{"/native": native}, Config: v1.ImageConfig{Entrypoint: []string{"/native", "pause"}}},
		{Name: nativeImage, Files: map[string]string{"/native": native}, Config: v1.ImageConfig{Entrypoint: []string{"/native"}}},
	}
	for _, guest := range []string{"sleep", "files", "exit", "cat"} {
		file := "/" + guest + ".wasm"
		all = append(all, image.Image{Name: guestImage(guest), Files: map[string]string{file: os.Getenv("E2E_GUESTS") + file}, Config: v1.ImageConfig{Entrypoint: []string{file}}})
	}
	var archive bytes.Buffer
	if err := image.Write(&archive, all...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctr := engine.Ctr(ctx, "image", "import", "-")
	ctr.Stdin = &archive
	if out, err := ctr.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr image import: %w\n%s", err, out)
	}
	return nil
}

// awaitImages waits until CRI has heard of what ctr has imported.
func awaitImages() error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r, err := images.ListImages(context.Background(), &cri.ListImagesRequest{})
		if err != nil {
			return err
		}
		if len(r.Images) >= 5 { // the two of the native program are one
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("CRI knows %d images", len(r.Images))
		}
	}
}

// eventually waits until a condition holds, or fails the test.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
