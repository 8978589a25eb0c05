package arrivals

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	known "github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// A form is a row of the table.
type form struct {
	what  string
	image image.Image
	// known is what wasm-image calls the form, if it does.
	known known.Form
	// doubtful is an index with modules of which nobody notes which was chosen.
	doubtful bool
}

var (
	linux  = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	other  = v1.Platform{OS: "linux", Architecture: "s390x"}
	wasi   = v1.Platform{OS: "wasi", Architecture: "wasm"}
	wasip1 = v1.Platform{OS: "wasip1", Architecture: "wasm"}
)

func forms(t *testing.T) []form {
	const (
		content   = "application/vnd.wasm.content.layer.v1+wasm"
		component = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"
	)
	// No two images share a module, a file system or a configuration: a container
	// shows which image it is of, no image finds another one's unpacked, and
	// Kubernetes does not take one for another.
	modules := 0
	module := func(p v1.Platform) string {
		modules++
		return write(t, fmt.Sprintf("image %d, %s/%s\n", modules, p.OS, p.Architecture))
	}
	config := func() v1.ImageConfig {
		return v1.ImageConfig{Entrypoint: []string{"/app.wasm"}, Labels: map[string]string{"image": strconv.Itoa(modules)}}
	}
	rootfs := func(p v1.Platform) image.Image {
		return image.Image{Files: map[string]string{"/app.wasm": module(p)}, Config: config(), Platform: p}
	}
	layer := func(p v1.Platform, mediaType string) image.Image {
		return image.Image{Wasm: []image.Wasm{{File: module(p), MediaType: mediaType}}, Config: config(), Platform: p}
	}
	named := layer(wasip1, "")
	named.WasmDiffIDs = true
	artifact := layer(wasip1, "")
	artifact.Artifact = true
	shared := layer(wasi, "")
	same := shared
	same.Platform = wasip1
	index := func(images ...image.Image) image.Image { return image.Image{Index: images} }
	return []form{
		{"rootfs, linux and this CPU", rootfs(linux), known.Rootfs, false},
		{"rootfs, linux and another CPU", rootfs(other), known.Rootfs, false},
		{"rootfs, index of linux with this CPU", index(rootfs(other), rootfs(linux)), known.Rootfs, false},
		{"rootfs, wasi/wasm", rootfs(wasi), known.Rootfs, false},
		{"rootfs, wasip1/wasm", rootfs(wasip1), known.Rootfs, false},
		{"rootfs, index of wasi/wasm and wasip1/wasm", index(rootfs(wasi), rootfs(wasip1)), known.Rootfs, false},
		{"layer `application/wasm`, no diff_ids", layer(wasip1, ""), known.Layer, false},
		{"layer `" + content + "`, no diff_ids", layer(wasip1, content), known.Layer, false},
		{"layer `" + component + "`, no diff_ids", layer(wasip1, component), known.Layer, false},
		{"layer `application/wasm`, linux and this CPU, no diff_ids", layer(linux, ""), known.Layer, false},
		{"layer `application/wasm`, linux and another CPU, no diff_ids", layer(other, ""), known.Layer, false},
		{"layer `application/wasm`, index of linux with this CPU", index(layer(other, ""), layer(linux, "")), known.Layer, false},
		{"layer `application/wasm`, index of wasi/wasm and wasip1/wasm with one module", index(shared, same), known.Layer, false},
		{"layer `application/wasm`, index of wasi/wasm and wasip1/wasm with two modules", index(layer(wasi, ""), layer(wasip1, "")), "", true},
		{"layer `application/wasm`, diff_ids name it", named, "", false},
		{"artifact", artifact, known.Artifact, false},
	}
}

// chosen is the image that runs: of an index the one for this machine, else the
// first, whose platform is the one that is asked for.
func (f form) chosen() image.Image {
	for _, i := range f.image.Index {
		if i.Platform.OS == linux.OS && i.Platform.Architecture == linux.Architecture {
			return i
		}
	}
	if len(f.image.Index) > 0 {
		return f.image.Index[0]
	}
	return f.image
}

// platforms are those of the image, of an index all.
func (f form) platforms() (all []v1.Platform) {
	for _, i := range f.image.Index {
		all = append(all, i.Platform)
	}
	if all == nil {
		all = append(all, f.image.Platform)
	}
	return all
}

// written are what the modules write, by their files.
var written = map[string]string{}

// text is what the module of the chosen image writes, and texts are those of all
// the images of an index.
func (f form) text() string { return text(f.chosen()) }

func (f form) texts() (all []string) {
	for _, i := range f.image.Index {
		all = append(all, text(i))
	}
	return all
}

func text(i image.Image) string {
	for _, file := range i.Files {
		return written[file]
	}
	return written[i.Wasm[0].File]
}

// write makes a module that writes the text, and returns its file.
func write(t *testing.T, text string) string {
	t.Helper()
	const stdout, vector, count, content = 1, 0, 8, 16
	module := asm.Module(
		asm.Section(asm.TypeSection, asm.FuncType("\x7f\x7f\x7f\x7f", "\x7f"), asm.FuncType("", "")),
		asm.Section(asm.ImportSection, asm.Import("wasi_snapshot_preview1", "fd_write", asm.Func, 0)),
		asm.Section(asm.FunctionSection, asm.U(1)),
		asm.Section(asm.MemorySection, []byte{0, 1}),
		asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 1), asm.Export("memory", asm.Memory, 0)),
		asm.Section(asm.CodeSection, asm.Code(0,
			asm.Const(stdout), asm.Const(vector), asm.Const(1), asm.Const(count),
			asm.Op(asm.Call, 0), asm.Op(asm.Drop))),
		asm.Section(asm.DataSection,
			asm.Data(vector, string([]byte{content, 0, 0, 0, byte(len(text)), 0, 0, 0})),
			asm.Data(content, text)),
	)
	file := filepath.Join(t.TempDir(), "app.wasm")
	if err := os.WriteFile(file, module, 0o644); err != nil {
		t.Fatal(err)
	}
	written[file] = text
	return file
}
