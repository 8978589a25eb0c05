package arrivals

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// A form is a row of the table.
type form struct {
	what  string
	image image.Image
}

var (
	linux  = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	other  = v1.Platform{OS: "linux", Architecture: "s390x"}
	wasi   = v1.Platform{OS: "wasi", Architecture: "wasm"}
	wasip1 = v1.Platform{OS: "wasip1", Architecture: "wasm"}
)

// hello is what the guest of all images writes.
const hello = "hello from c\n"

func forms(t *testing.T) []form {
	file := guest("hello-c")
	const (
		content   = "application/vnd.wasm.content.layer.v1+wasm"
		component = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"
	)
	entrypoint := v1.ImageConfig{Entrypoint: []string{"/app.wasm"}}
	// No two images share a file system, which one could find unpacked for the other.
	rootfs := func(p v1.Platform, form string) image.Image {
		label := filepath.Join(t.TempDir(), "form")
		if err := os.WriteFile(label, []byte(form+p.OS+p.Architecture), 0o644); err != nil {
			t.Fatal(err)
		}
		return image.Image{Files: map[string]string{"/app.wasm": file, "/form": label}, Config: entrypoint, Platform: p}
	}
	layer := func(p v1.Platform, mediaType string) image.Image {
		return image.Image{Wasm: []image.Wasm{{File: file, MediaType: mediaType}}, Config: entrypoint, Platform: p}
	}
	named := layer(wasip1, "")
	named.WasmDiffIDs = true
	artifact := layer(wasip1, "")
	artifact.Artifact = true
	index := func(images ...image.Image) image.Image { return image.Image{Index: images} }
	return []form{
		{"rootfs, linux and this CPU", rootfs(linux, "single")},
		{"rootfs, linux and another CPU", rootfs(other, "single")},
		{"rootfs, index of linux with this CPU", index(rootfs(other, "index"), rootfs(linux, "index"))},
		{"rootfs, wasi/wasm", rootfs(wasi, "single")},
		{"rootfs, wasip1/wasm", rootfs(wasip1, "single")},
		{"rootfs, index of wasi/wasm and wasip1/wasm", index(rootfs(wasi, "index"), rootfs(wasip1, "index"))},
		{"layer `application/wasm`, no diff_ids", layer(wasip1, "")},
		{"layer `" + content + "`, no diff_ids", layer(wasip1, content)},
		{"layer `" + component + "`, no diff_ids", layer(wasip1, component)},
		{"layer `application/wasm`, linux, no diff_ids", layer(linux, "")},
		{"layer `application/wasm`, index of wasi/wasm and wasip1/wasm", index(layer(wasi, ""), layer(wasip1, ""))},
		{"layer `application/wasm`, diff_ids name it", named},
		{"artifact", artifact},
	}
}
