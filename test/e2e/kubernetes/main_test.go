// Package kubernetes runs pods of Wasm and Linux containers in a cluster of one
// node, and asks for everything by kubectl, as a user does.
//
// The environment is that of package e2e, with Kubernetes' programs in E2E_BIN, and:
//
//	E2E_LOGS  a folder for the logs of all programs, which go otherwise
package kubernetes

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/kubernetes"
)

// The images of the tests: every guest as /NAME.wasm, busybox with /serve, and the
// one that the manual has pods of.
const (
	wasmImage   = "test.local/wasm:1"
	linuxImage  = "test.local/linux:1"
	manualImage = "registry.example.org/hello:1"
)

// What every test uses; TestMain sets it.
var (
	cluster *kubernetes.Cluster
	before  isolate.Residue
	began   = time.Now()
)

func TestMain(m *testing.M) {
	dir := isolate.Enter("kubernetes", isolate.Network)
	code, err := run(m, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, dir string) (code int, err error) {
	path, guests := os.Getenv("E2E_BIN"), os.Getenv("E2E_GUESTS")
	if path == "" || guests == "" {
		return 1, errors.New("E2E_BIN and E2E_GUESTS are not set; run `make test-k8s`")
	}
	images, err := images(path, guests)
	if err != nil {
		return 1, err
	}
	alone, err := takeResidue(dir)
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cluster, err = kubernetes.Start(ctx, dir, path, images, progress)
	if err != nil {
		return 1, err
	}
	if before, err = takeResidue(dir); err != nil {
		return 1, errors.Join(err, cluster.Stop())
	}
	code = m.Run()
	if dump := os.Getenv("E2E_LOGS"); dump != "" {
		if out, err := exec.Command("sh", "-c", `mkdir -p "$0" && cp "$1"/*.log "$1"/containerd/*.log "$0"`, dump, dir).CombinedOutput(); err != nil {
			progress(string(out))
		}
	}
	if err := cluster.Stop(); err != nil {
		return 1, err
	}
	return code, onlyTheNodes(dir, alone)
}

func progress(line string) {
	fmt.Printf("  %s\n", line)
}

func images(path, guests string) ([]image.Image, error) {
	modules, err := filepath.Glob(filepath.Join(guests, "*.wasm"))
	if err != nil {
		return nil, err
	}
	if len(modules) == 0 {
		return nil, fmt.Errorf("no guests in %s: run `make guests`", guests)
	}
	wasm := image.Image{Name: wasmImage, Files: map[string]string{}, Config: v1.ImageConfig{Entrypoint: []string{"/sleep.wasm"}, Cmd: []string{"3600000"}}}
	for _, module := range modules {
		wasm.Files["/"+filepath.Base(module)] = module
	}
	manual := image.Image{
		Name:   manualImage,
		Files:  map[string]string{"/app.wasm": filepath.Join(guests, "hello-c.wasm")},
		Config: v1.ImageConfig{Entrypoint: []string{"/app.wasm"}},
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("%w: install busybox-static", err)
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, err
	}
	linux := image.Image{Name: linuxImage, Files: map[string]string{"/bin/busybox": busybox}, Config: v1.ImageConfig{
		Entrypoint: []string{"/serve"},
		Cmd:        []string{"8080", "9090"},
		Env:        []string{"PATH=/bin"},
	}}
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			linux.Nodes = append(linux.Nodes, tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777})
		}
	}
	linux.Nodes = append(linux.Nodes, tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777})
	for _, dir := range filepath.SplitList(path) {
		if serve := filepath.Join(dir, "serve"); isFile(serve) {
			linux.Files["/serve"] = serve
		}
	}
	return []image.Image{wasm, linux, manual}, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
