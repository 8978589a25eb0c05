package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

func TestInspect(t *testing.T) {
	module := asm.Module(
		asm.Section(asm.TypeSection, asm.FuncType("", ""), asm.FuncType("\x7f", "")),
		asm.Section(asm.ImportSection, asm.Import("wasi_snapshot_preview1", "proc_exit", asm.Func, 1)),
		asm.Section(asm.FunctionSection, asm.U(0)),
		asm.Section(asm.MemorySection, []byte{1, 16, 32}),
		asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 1), asm.Export("memory", asm.Memory, 0)),
		asm.Section(asm.CodeSection, asm.Code(0, asm.Op(asm.ReturnCall, 1))))
	r := Inspect(t.Context(), "m.wasm", module, "")
	if !slices.Equal(r.Imports, []Item{{"wasi_snapshot_preview1", "proc_exit", "function", "[i32] -> []"}}) {
		t.Errorf("imports %+v", r.Imports)
	}
	if !slices.Equal(r.Exports, []Item{{"", "_start", "function", "[] -> []"}, {"", "memory", "memory", ""}}) {
		t.Errorf("exports %+v", r.Exports)
	}
	if !slices.Equal(r.Memories, []string{"1 MiB, at most 2 MiB"}) {
		t.Errorf("memories %q", r.Memories)
	}
	if !slices.Equal(r.Proposals, []string{"tail-call"}) || r.HasStart || r.Refusal != nil {
		t.Errorf("%+v", r)
	}
	if r := Inspect(t.Context(), "m.wasm", module, "walk"); r.Refusal == nil ||
		!strings.HasPrefix(r.Refusal.Error(), `module m.wasm exports no function "walk"`) {
		t.Errorf("refusal %v", r.Refusal)
	}
}

// What wazero does not ask for by its name is found all the same, and a module
// that needs nothing beyond 1.0 needs nothing.
func TestInspectProposals(t *testing.T) {
	for _, c := range []struct {
		name   string
		module []byte
		want   []string
	}{
		{"none", command(asm.Code(0)), nil},
		{"two", command(asm.Code(0, asm.Const(1), asm.Op(0xc0), asm.Op(asm.Drop), asm.Op(asm.ReturnCall, 0))), []string{"sign-extension-ops", "tail-call"}},
		{"shared memory", command(asm.Code(0), asm.Section(asm.MemorySection, []byte{3, 1, 2})), []string{"threads"}},
		{"exceptions", command(asm.Code(0, asm.Op(0x08, 0)), asm.Section(13, []byte{0, 0})), []string{"exception-handling"}},
		{"memory64", command(asm.Code(0), asm.Section(asm.MemorySection, []byte{4, 1})), []string{"memory64"}},
		{"multi-memory", command(asm.Code(0), asm.Section(asm.MemorySection, []byte{0, 1}, []byte{0, 1})), []string{"multi-memory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Inspect(t.Context(), "m.wasm", c.module, "").Proposals; !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestInspectWhatIsNoModule(t *testing.T) {
	component := []byte("\x00asm\x0d\x00\x01\x00")
	for _, file := range [][]byte{nil, []byte("text"), component, []byte("\x00asm\x01\x00\x00\x00\x02\xff")} {
		if r := Inspect(t.Context(), "m.wasm", file, ""); r.Refusal == nil {
			t.Errorf("% x: no refusal", file)
		}
		if len(file) < 9 && Recognise(file) == nil {
			t.Errorf("% x: recognised", file)
		}
	}
}
