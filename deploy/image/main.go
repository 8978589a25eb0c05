// Command image writes the image of the node installer's DaemonSet: the installer
// and the programs that it installs, for each of several CPUs, and nothing else.
//
//	image PLACE ARCHITECTURE=FOLDER...
//
// A place is what wasm-image takes for one: a folder, an archive or a reference
// in a registry. Equal programs make equal images.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"encoding/json"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/place"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/rootfs"
)

var programs = []string{"wasm-node-installer", "containerd-shim-wasm-v1", "wasm-sandbox"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := write(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: image PLACE ARCHITECTURE=FOLDER...")
	}
	to, err := place.Parse(args[0], os.Stdout, os.Stderr)
	if err != nil {
		return err
	}
	var images []v1.Image
	for _, arg := range args[1:] {
		architecture, folder, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not of the form ARCHITECTURE=FOLDER", arg)
		}
		img, err := build(architecture, folder)
		if err != nil {
			return err
		}
		images = append(images, img)
	}
	digest, err := to.Write(ctx, images)
	if err == nil && !place.IsPipe(to) {
		fmt.Println(digest)
	}
	return err
}

// build makes the image of a folder's programs.
func build(architecture, folder string) (v1.Image, error) {
	var tree rootfs.Tree
	for _, name := range programs {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		if err := tree.Data("/"+name, data, 0o755); err != nil {
			return nil, err
		}
	}
	epoch := time.Unix(0, 0).UTC()
	layer, diffID, err := tree.Layer(epoch)
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(v1.ConfigFile{
		OS: "linux", Architecture: architecture,
		Created: v1.Time{Time: epoch},
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
		Config:  v1.Config{Entrypoint: []string{"/" + programs[0]}},
	})
	if err != nil {
		return nil, err
	}
	return parts.New(parts.Bytes(types.OCIConfigJSON, config), []*parts.Blob{layer}, nil)
}
