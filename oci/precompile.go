package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	contentAPI "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultPath is the PATH of containers whose image names none (containerd,
// pkg/oci/spec_opts.go).
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Snapshot is the root file system of an image, as a snapshotter has it.
type Snapshot struct{ Snapshotter, Key string }

// Image is an image, and what a container runs that is created from it and given
// no other command.
type Image struct {
	image
	Module Module
	// Snapshots are the places where the image is unpacked, at least one; none
	// where the module is a layer.
	Snapshots []Snapshot
}

// Image looks at the image of that reference, which is a whole one. Errors are of
// errdefs, and name the image: NotFound where there is none.
func (i *Images) Image(ctx context.Context, name string) (img Image, err error) {
	if img.image, err = i.image(ctx, name); err != nil {
		return img, err
	}
	from, err := i.manifest(ctx, img.image, nil)
	if err != nil {
		return img, err
	}
	if from == nil {
		return img, fmt.Errorf("%v: its index has no manifest of an image: %w", img, errdefs.ErrInvalidArgument)
	}
	if img.Module.Layer, err = i.defaultLayer(ctx, img.image, from); err != nil {
		return img, fmt.Errorf("%v: %w", img, err)
	}
	if img.Module.Layer != nil {
		return img, nil
	}

	// Of an index, what a client has unpacked is what it runs.
	var failed error
	from, err = i.manifest(ctx, img.image, func(candidate manifest) bool {
		img.Snapshots, failed = i.unpacked(ctx, candidate)
		return failed != nil || len(img.Snapshots) > 0
	})
	switch {
	case err != nil:
		return img, err
	case failed != nil:
		return img, fmt.Errorf("%v: %w", img, failed)
	case from == nil:
		return img, fmt.Errorf("%v: no snapshotter of containerd's has it unpacked; pull it again, or run a container of it: %w", img, errdefs.ErrFailedPrecondition)
	}
	process, err := i.process(ctx, img.image, from)
	if err == nil && len(process.Args) == 0 {
		err = fmt.Errorf("configuration %s: neither Entrypoint nor Cmd, so it names no module: %w", shown(from.Config.Digest), errdefs.ErrInvalidArgument)
	}
	if err == nil {
		img.Module, err = Resolve(&specs.Spec{Process: process})
	}
	if err != nil {
		return img, fmt.Errorf("%v: %w", img, err)
	}
	return img, nil
}

// defaultLayer finds the layer that is the module of a container with the image's
// own command; nil where its module is a file.
func (i *Images) defaultLayer(ctx context.Context, img image, m *manifest) (*Layer, error) {
	process, err := i.process(ctx, img, m)
	if err != nil {
		return nil, err
	}
	var e entry
	if len(process.Args) > 0 {
		if e, _, err = entryOf(&specs.Spec{Process: process}); err != nil {
			return nil, err
		}
	}
	return i.layerOf(ctx, origin{image: img, manifest: m}, e.file)
}

// process is what a client makes of an image's configuration. It has no
// arguments where the configuration is not one of a program.
func (i *Images) process(ctx context.Context, img image, m *manifest) (*specs.Process, error) {
	if t := m.Config.MediaType; t != v1.MediaTypeImageConfig && t != dockerConfig {
		return &specs.Process{}, nil
	}
	data, err := i.blob(ctx, m.Config, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", shown(m.Config.Digest), i.explain(img.name, err))
	}
	var config v1.Image
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("configuration %s is not of the media type %s: %w: %w", m.Config.Digest, m.Config.MediaType, err, errdefs.ErrInvalidArgument)
	}
	env := config.Config.Env
	if lookup(env, "PATH") == "" {
		env = append(env, defaultPath)
	}
	return &specs.Process{
		Args: slices.Concat(config.Config.Entrypoint, config.Config.Cmd),
		Env:  env,
		Cwd:  config.Config.WorkingDir,
	}, nil
}

// unpacked says where the manifest's layers are unpacked: containerd keeps the
// snapshots from garbage collection by labels of the configuration.
func (i *Images) unpacked(ctx context.Context, m manifest) (snapshots []Snapshot, err error) {
	response, err := i.content.Info(i.in(ctx), &contentAPI.InfoRequest{Digest: string(m.Config.Digest)})
	if err != nil {
		if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("configuration %s: %w", shown(m.Config.Digest), err)
	}
	labels := response.GetInfo().GetLabels()
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		if snapshotter, ok := strings.CutPrefix(label, "containerd.io/gc.ref.snapshot."); ok {
			snapshotter, _, _ = strings.Cut(snapshotter, "/") // one label for each of several
			snapshots = append(snapshots, Snapshot{snapshotter, labels[label]})
		}
	}
	return snapshots, nil
}
