package engine

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/sentence"
)

// FuzzModule looks at files that images have for modules. Of one that wazero takes
// for a module, scan has seen the same imports and memories; and it takes memory
// in proportion to the file.
func FuzzModule(f *testing.F) {
	function := asm.Join(
		asm.Section(asm.TypeSection, asm.FuncType("", ""), asm.FuncType("\x7f", "")),
		asm.Section(asm.FunctionSection, asm.U(0)),
		asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 0)),
		asm.Section(asm.CodeSection, asm.Code(0)))
	types := asm.Section(asm.TypeSection, asm.FuncType("", ""))
	for _, file := range [][]byte{
		nil,
		[]byte("\x00asm"),
		[]byte("\x00asm\x0d\x00\x01\x00"),
		[]byte("\x7fELF and so on"),
		[]byte("a text\x1b[2J"),
		asm.Module(),
		asm.Module(function),
		asm.Module(types, asm.Section(asm.ImportSection,
			asm.Import("env", "f", asm.Func, 0),
			asm.Import("env", "t", asm.Table, 0x70, 0, 1),
			asm.Import("env", "m", asm.Memory, 1, 1, 2),
			asm.Import("env", "g", asm.Global, 0x7f, 0),
			asm.Import("e\nnv", "\xff", asm.Global, 0x7f, 1))),
		asm.Module(asm.Section(asm.MemorySection, []byte{1, 1, 2})),
		asm.Module(asm.Section(asm.MemorySection, []byte{4, 1}, []byte{3, 1, 1})),
		asm.Module(types, asm.Section(asm.ImportSection, asm.Import("a", "b", 9, 0))),
		asm.Module(asm.Custom("target_features", asm.Vec(asm.Join([]byte("+"), asm.Bytes("simd128")))), asm.Custom(".debug_info", make([]byte, 9))),
		asm.Module(asm.Raw(asm.MemorySection, asm.U(1<<62))),
		asm.Module(asm.Raw(asm.TypeSection, []byte{1, 0x4e, 1, 0x5f, 0})),
	} {
		f.Add(file)
	}
	config := wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(coreFeatures())
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := recognise(file); err != nil {
			sentence.Check(t, err, "is ", "has ")
			if bytes.HasPrefix(file, []byte("\x00asm\x01\x00\x00\x00")) {
				t.Errorf("a module is not recognised: %v", err)
			}
			return
		}
		sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(sample)
		before := sample[0].Value.Uint64()
		s := scan(file)
		metrics.Read(sample)
		// The fuzzer itself allocates meanwhile, but not as much.
		if took := sample[0].Value.Uint64() - before; took > 1<<20+100*uint64(len(file)) {
			t.Errorf("a module of %d bytes takes %d to look at", len(file), took)
		}
		if again := scan(file); !reflect.DeepEqual(again, s) {
			t.Errorf("looked at again, %+v is %+v", s, again)
		}
		if err := s.supported(); err != nil {
			sentence.Check(t, err, "uses ")
		}
		compareWithWazero(t, config, file, s)
	})
}

// maxNumber bounds the numbers in a module that is given to wazero, which
// allocates what a vector says to have before it looks for that.
const maxNumber = 1 << 16

// compareWithWazero fails where scan has seen another module than wazero.
func compareWithWazero(t *testing.T, config wazero.RuntimeConfig, file []byte, s *shape) {
	for i := range file[8:] {
		if n, _ := binary.Uvarint(file[8+i:]); n > maxNumber {
			return
		}
	}
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, config.WithDebugInfoEnabled(false))
	defer r.Close(ctx)
	compiled, err := r.CompileModule(ctx, file)
	if err != nil {
		return
	}
	functions, memories := map[string]bool{}, 0
	for _, imp := range s.imports {
		switch imp.kind {
		case kindFunc:
			functions[imp.module+" "+imp.name] = true
		case kindMemory:
			memories++
		}
	}
	for _, def := range compiled.ImportedFunctions() {
		module, name, _ := def.Import()
		if !functions[module+" "+name] {
			t.Errorf("scan has not seen the import %q %q", module, name)
		}
		delete(functions, module+" "+name)
	}
	if len(functions) > 0 {
		t.Errorf("scan has seen the imports %v, wazero has not", functions)
	}
	if n := len(compiled.ImportedMemories()); n != memories {
		t.Errorf("scan has seen %d imported memories, wazero %d", memories, n)
	}
	if len(s.memories) > 1 && s.supported() == nil {
		t.Error("two memories are let through")
	}
	for _, feature := range s.features {
		if !strings.Contains(string(file), feature) {
			t.Errorf("the feature %q is not in the file", feature)
		}
	}
}
