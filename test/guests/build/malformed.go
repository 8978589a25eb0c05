package main

import "github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"

// malformed are the modules that a runtime must refuse.
var malformed = []guest{
	{name: "empty", bytes: func() []byte { return nil }},
	{name: "not-wasm", bytes: func() []byte { return []byte("This is a text, not a module.\n") }},
	{name: "component", bytes: func() []byte { return []byte("\x00asm\x0d\x00\x01\x00") }},
	{name: "missing-import", bytes: func() []byte {
		return asm.Module(
			asm.Section(asm.TypeSection, asm.FuncType("\x7f", ""), asm.FuncType("", "")),
			asm.Section(asm.ImportSection, asm.Import("env", "print_i32", asm.Func, 0)),
			asm.Section(asm.FunctionSection, asm.U(1)),
			asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 1)),
			asm.Section(asm.CodeSection, asm.Code(0, asm.Const(1), asm.Op(asm.Call, 0))),
		)
	}},
	// A 64-bit memory: limits flag 4 of the memory64 proposal.
	{name: "memory64", bytes: func() []byte { return exporting("_start", asm.Section(asm.MemorySection, []byte{4, 1})) }},
	{name: "no-start", bytes: func() []byte { return exporting("main") }},
}

// exporting is a module with one function, exported by that name, which does
// nothing.
func exporting(name string, memory ...[]byte) []byte {
	return asm.Module(
		asm.Section(asm.TypeSection, asm.FuncType("", "")),
		asm.Section(asm.FunctionSection, asm.U(0)),
		asm.Join(memory...),
		asm.Section(asm.ExportSection, asm.Export(name, asm.Func, 0)),
		asm.Section(asm.CodeSection, asm.Code(0)),
	)
}
