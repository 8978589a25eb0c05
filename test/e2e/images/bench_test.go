package images

import (
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	runtimespec "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
)

// BenchmarkModule is what looking at the image adds to the creation of a
// container, the connection included.
func BenchmarkModule(b *testing.B) {
	configuration := blob(b, v1.MediaTypeImageConfig, []byte(`{"os":"linux"}`))
	for name, target := range map[string]v1.Descriptor{
		"file":  manifest(b, configuration),
		"layer": manifest(b, configuration, module(b)),
	} {
		ref := newName()
		tag(b, ref, target)
		id := record(b, containerOf(ref))
		spec := &runtimespec.Spec{Process: &runtimespec.Process{Args: []string{"/app.wasm"}}}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				stores, err := oci.NewImages(engine.Address(), engine.Namespace, maxModule)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := (oci.Container{ID: id, Spec: spec, Images: stores}).Module(b.Context()); err != nil {
					b.Fatal(err)
				}
				stores.Close()
			}
		})
	}
}
