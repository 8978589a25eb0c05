// Demo shows the shim at work: it makes an image of a WebAssembly module,
// starts a containerd that nobody else uses, and runs the image by ctr as a
// user would. Nothing is left behind, whatever happens.
//
//	demo -path DIR[:DIR] MODULE
//
// The folders hold containerd, ctr, containerd-shim-wasm-v1 and wasm-sandbox.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

const imageName = "demo.local/hello:latest"

func main() {
	path := flag.String("path", "", "the `folders` of the programs, as in $PATH")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: demo -path DIR[:DIR] MODULE") }
	flag.Parse()
	if *path == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	dir := isolate.Enter("demo")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx, dir, *path, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, path, module string) (err error) {
	archive := filepath.Join(dir, "hello.tar")
	if err := step("make an image of "+module, func() error { return writeImage(archive, module) }); err != nil {
		return err
	}
	var d *daemon.Daemon
	err = step("start a private containerd in "+dir, func() (err error) {
		d, err = daemon.Start(ctx, dir, path, filepath.Base(dir))
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	err = step("import the image", func() error {
		out, err := d.Ctr(ctx, "image", "import", archive).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ctr image import: %w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		return err
	}

	args := []string{"run", "--rm", "--runtime", "io.containerd.wasm.v1", imageName, "hello"}
	fmt.Println("\n  $ ctr", strings.Join(args, " "))
	ctr := d.Ctr(ctx, args...)
	ctr.Stdout, ctr.Stderr = os.Stdout, os.Stderr
	begin := time.Now()
	err = ctr.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	fmt.Printf("\n  the container's exit code is %d (%d ms)\n", ctr.ProcessState.ExitCode(), time.Since(begin).Milliseconds())
	if err != nil {
		return fmt.Errorf("ctr run: %w", err)
	}
	return nil
}

func writeImage(archive, module string) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	err = image.Write(f, image.Image{
		Name:   imageName,
		Files:  map[string]string{"/hello.wasm": module},
		Config: v1.ImageConfig{Entrypoint: []string{"/hello.wasm"}},
	})
	return errors.Join(err, f.Close())
}

// step does one thing with a line that grows a dot each second until it is done.
func step(what string, do func() error) error {
	fmt.Printf("  %s ", what)
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				fmt.Println("failed")
				return err
			}
			fmt.Printf("%d ms\n", time.Since(begin).Milliseconds())
			return nil
		case <-tick.C:
			fmt.Print(".")
		}
	}
}
