// Package form knows the forms in which images carry a WebAssembly module, and
// makes an image of one form out of a program, and a program out of an image of
// any.
package form

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Form is a way in which an image carries a module.
type Form string

const (
	// Rootfs has it as a file in a root file system of tar layers, as any
	// container image has its program.
	Rootfs Form = "rootfs"
	// Layer has it as a layer of its own, as it is, beside the configuration of a
	// container image that lists no diff_ids. It is runwasi's form.
	Layer Form = "layer"
	// Artifact is the CNCF's: a configuration of its own type, and one layer that
	// is the module (TAG Runtime, "Wasm OCI Artifact").
	Artifact Form = "artifact"
)

// All are the forms, the most widely understood first.
var All = []Form{Rootfs, Layer, Artifact}

// Parse reads a form's name.
func Parse(name string) (Form, error) {
	if f := Form(name); slices.Contains(All, f) {
		return f, nil
	}
	return "", fmt.Errorf("there is no form %q; there are rootfs, layer and artifact", name)
}

// The media types of Wasm configurations and layers. contentLayer is the one of
// wasm-to-oci and componentLayer that of runwasi's image builder; images with
// them are read, but not made.
const (
	artifactConfig types.MediaType = "application/vnd.wasm.config.v0+json"
	wasmLayer      types.MediaType = "application/wasm"
	contentLayer   types.MediaType = "application/vnd.wasm.content.layer.v1+wasm"
	componentLayer types.MediaType = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"
)

// IsWasm says whether layers of that media type are a module each.
func IsWasm(layer types.MediaType) bool {
	return layer == wasmLayer || layer == contentLayer || layer == componentLayer
}

// titleAnnotation, of a layer, is the name of the file that it is (OCI image
// specification, annotations.md).
const titleAnnotation = "org.opencontainers.image.title"

// Of tells the form of an image.
func Of(img v1.Image) (Form, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return "", err
	}
	wasm := 0
	for _, l := range manifest.Layers {
		if IsWasm(l.MediaType) {
			wasm++
		}
	}
	config := manifest.Config.MediaType
	switch {
	case wasm > 0 && wasm < len(manifest.Layers):
		return "", fmt.Errorf("its layers are of different kinds (%s): some are a module, others are not", layerTypes(manifest))
	case wasm > 1:
		return "", fmt.Errorf("it has %d Wasm layers; one is the program, and which cannot be told", wasm)
	case wasm == 1 && config.IsConfig():
		return Layer, nil
	case wasm == 1:
		// ORAS and wasm-to-oci write configurations of other types, which say
		// nothing about the module.
		return Artifact, nil
	case config.IsConfig() && len(manifest.Layers) > 0:
		return Rootfs, nil
	}
	return "", fmt.Errorf("it is no image of a Wasm module: its configuration is a %q, its layers are: %s", config, layerTypes(manifest))
}

func layerTypes(manifest *v1.Manifest) string {
	const most = 8
	var names []string
	for _, l := range manifest.Layers {
		if !slices.Contains(names, string(l.MediaType)) {
			names = append(names, string(l.MediaType))
		}
	}
	if len(names) > most {
		names = append(names[:most], "…")
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
