package engine

import (
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

// importing is a command that has the imports, all of them of type 0, and does
// nothing.
func importing(typ []byte, imports ...[]byte) []byte {
	functions := uint64(0)
	for range imports {
		functions++
	}
	return asm.Module(
		asm.Section(asm.TypeSection, typ, asm.FuncType("", "")),
		asm.Section(asm.ImportSection, imports...),
		asm.Section(asm.FunctionSection, asm.U(1)),
		asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, functions)),
		asm.Section(asm.CodeSection, asm.Code(0)))
}

// command is a module whose _start has this body; the sections go between its
// functions and its exports.
func command(body []byte, sections ...[]byte) []byte {
	return asm.Module(
		asm.Section(asm.TypeSection, asm.FuncType("", "")),
		asm.Section(asm.FunctionSection, asm.U(0)),
		asm.Join(sections...),
		asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 0)),
		asm.Section(asm.CodeSection, body))
}

func exporting(names ...string) []byte {
	var exports [][]byte
	for _, name := range names {
		exports = append(exports, asm.Export(name, asm.Func, 0))
	}
	return asm.Module(
		asm.Section(asm.TypeSection, asm.FuncType("", "")),
		asm.Section(asm.FunctionSection, asm.U(0)),
		asm.Section(asm.ExportSection, exports...),
		asm.Section(asm.CodeSection, asm.Code(0)))
}

func TestLoadNamesWhatIsWrong(t *testing.T) {
	none := asm.FuncType("", "")
	function := func(module, name string) []byte { return asm.Import(module, name, asm.Func, 0) }
	relaxed := asm.Code(0, asm.Op(0xfd, 0x80, 0x02), asm.Op(asm.Drop))
	typed := func(params, results string) []byte {
		return asm.Module(
			asm.Section(asm.TypeSection, asm.FuncType(params, results)),
			asm.Section(asm.FunctionSection, asm.U(0)),
			asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 0), asm.Export("f", asm.Func, 0)),
			asm.Section(asm.CodeSection, asm.Code(0, asm.Op(asm.Unreachable))))
	}
	for _, c := range []struct {
		name     string
		module   []byte
		function string
		want     string
	}{
		{"empty", nil, "", "is an empty file"},
		{"text", []byte("Grüße"), "", "is not a WebAssembly module: it looks like a text"},
		{"script", []byte("#!/bin/sh\n"), "", "is not a WebAssembly module: it looks like a script"},
		{"ELF", []byte("\x7fELF\x02\x01"), "", "is not a WebAssembly module: it looks like a Linux program (ELF)"},
		{"text format", []byte("(module)"), "", "is not a WebAssembly module: it looks like WebAssembly in text form: translate it with wat2wasm"},
		{"bytes", []byte{0xde, 0xad, 0, 0xef, 1}, "", "is not a WebAssembly module: it starts with the bytes de ad 00 ef"},
		{"cut off", []byte("\x00asm\x01"), "", "is cut off after 5 bytes"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "", "is a WebAssembly component; this runtime runs core modules: build it for WASI preview 1 (wasm32-wasip1)"},
		{"version", []byte("\x00asm\x02\x00\x00\x00"), "", "has version 2 of the WebAssembly binary format; this runtime knows version 1"},
		{"cut section", asm.Module([]byte{asm.TypeSection, 100, 1}), "", "is not valid WebAssembly: section 1 (type) claims 100 bytes where 1 byte is left"},

		{"memory64", command(asm.Code(0), asm.Section(asm.MemorySection, []byte{4, 1})), "",
			`uses the WebAssembly proposal "memory64", which this runtime does not support: build it for wasm32`},
		{"multi-memory", command(asm.Code(0), asm.Section(asm.MemorySection, []byte{0, 1}, []byte{0, 1})), "",
			`uses the WebAssembly proposal "multi-memory", which this runtime does not support`},
		{"custom page sizes", command(asm.Code(0), asm.Section(asm.MemorySection, []byte{8, 1, 0})), "",
			`uses the WebAssembly proposal "custom page sizes", which this runtime does not support`},
		{"GC types", asm.Module(asm.Section(asm.TypeSection, []byte{0x5f, 0})), "",
			`uses the WebAssembly proposal "garbage collection", which this runtime does not support`},
		{"GC instruction", command(asm.Code(0, asm.Const(1), asm.Op(0xfb, 28), asm.Op(asm.Drop))), "",
			`uses the WebAssembly proposal "garbage collection", which this runtime does not support (invalid function[0] export["_start"]: invalid instruction 0xfb)`},
		{"legacy exceptions", command(asm.Code(0, asm.Op(0x06, asm.Void), asm.Op(0x19), asm.Op(asm.End))), "",
			`uses the WebAssembly proposal "legacy exception handling", which this runtime does not support: ` +
				`build it with the exception handling of WebAssembly 3.0 (exnref), or translate it with wasm-opt --translate-to-exnref (`},
		{"wide arithmetic", command(asm.Code(0, asm.Op(0xfc, 0x13))), "",
			`uses the WebAssembly proposal "wide arithmetic", which this runtime does not support (invalid function[0] export["_start"]: unknown misc opcode 0x13)`},

		{"no host", importing(none, function("env", "f"), function("env", "g")), "",
			"imports env.f, env.g, which this runtime does not provide; " +
				"it was built for a host in JavaScript, such as Emscripten's, or with symbols left undefined"},
		{"no such WASI function", importing(none, function("wasi_snapshot_preview1", "fd_dance")), "",
			"imports wasi_snapshot_preview1.fd_dance, which this runtime does not provide; WASI preview 1 has no such function"},
		{"sockets", importing(none, function("wasi_snapshot_preview1", "sock_open")), "",
			"imports wasi_snapshot_preview1.sock_open, which this runtime does not provide; " +
				"sockets beyond WASI preview 1 are an extension of some runtimes"},
		{"WASI 0.2", importing(none, function("wasi:cli/stdout@0.2.0", "get-stdout")), "",
			"imports wasi:cli/stdout@0.2.0.get-stdout, which this runtime does not provide; " +
				"wasi:cli/stdout@0.2.0 belongs to WASI 0.2 components: build it for WASI preview 1 (wasm32-wasip1)"},
		{"no such function of wasi_unstable", importing(none, function("wasi_unstable", "sock_accept")), "",
			"imports wasi_unstable.sock_accept, which this runtime does not provide; " +
				"the preview of WASI before preview 1 has no such function"},
		{"shared memory", importing(none, asm.Import("env", "memory", asm.Memory, 3, 1, 2)), "",
			"imports env.memory, which this runtime does not provide; it was built for wasi-threads: build it without threads"},
		{"many imports", importing(none, function("m", "1"), function("m", "2"), function("m", "3"), function("m", "4"),
			function("m", "5"), function("m", "6"), function("m", "7"), function("m", "8"), function("m", "9"), function("m", "10")), "",
			"imports m.1, m.2, m.3, m.4, m.5, m.6, m.7, m.8 and 2 more, which this runtime does not provide"},
		{"import type", importing(asm.FuncType("\x7f", "\x7e"), function("wasi_snapshot_preview1", "fd_write")), "",
			"imports wasi_snapshot_preview1.fd_write as a function [i32] -> [i64], but it is [i32 i32 i32 i32] -> [i32]"},

		{"no _start", exporting("main", "helper"), "",
			"exports no function _start, the entry of a WASI command; it exports the functions helper, main: one of them can be the entry point as MODULE#FUNCTION"},
		{"no exports", exporting(), "", "exports no function _start, the entry of a WASI command; it exports no function"},
		{"reactor", exporting("_initialize", "run"), "",
			"is a reactor, a library without the entry function _start; it exports the functions _initialize, run: one of them can be the entry point as MODULE#FUNCTION"},
		{"no such function", exporting("_start"), "walk", `exports no function "walk"; it exports the functions _start`},
		{"_start with a result", typed("", "\x7f"), "", "exports the function _start as [] -> [i32]; it must be [] -> []"},
		{"parameters", typed("\x7f\x7e", ""), "f", "exports the function f as [i32 i64] -> []; to be called it must be [] -> [] or [] -> [i32]"},
		{"result of another type", typed("", "\x7c"), "f", "exports the function f as [] -> [f64]; to be called it must be [] -> [] or [] -> [i32]"},

		{"data out of bounds", asm.Join(command(asm.Code(0), asm.Section(asm.MemorySection, []byte{0, 1})),
			asm.Section(asm.DataSection, asm.Data(65530, "too long"))), "",
			"cannot be instantiated: data[0]: out of bounds memory access"},
		{"relaxed SIMD", command(relaxed), "", `uses the WebAssembly proposal "relaxed SIMD", which this runtime does not support (`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(t.Context(), Config{Name: "/m.wasm", Binary: c.module, Function: c.function})
			if err == nil {
				t.Fatal("no error")
			}
			got, want := err.Error(), "module /m.wasm "+c.want
			// What wazero says after it is wazero's.
			if prefix, open := strings.CutSuffix(want, "("); got != want && !(open && strings.HasPrefix(got, prefix)) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// A module of each proposal that ought to work.
func TestLoadSupports(t *testing.T) {
	shared := asm.Section(asm.MemorySection, []byte{3, 1, 2})
	for name, module := range map[string][]byte{
		"tail calls": command(asm.Code(0, asm.Op(asm.ReturnCall, 0))),
		"threads":    command(asm.Code(0, asm.Const(0), asm.Op(0xfe, 0x10, 2, 0), asm.Op(asm.Drop)), shared),
		"extended constants": command(asm.Code(0), asm.Section(6,
			asm.Join([]byte{asm.I32, 0}, asm.Const(1), asm.Const(2), asm.Op(asm.I32Add), asm.Op(asm.End)))),
		"exceptions": command(asm.Code(0, asm.Op(0x08, 0)), asm.Section(13, []byte{0, 0})),
		"typed function references": asm.Module(
			asm.Section(asm.TypeSection, asm.FuncType("", ""),
				asm.Join([]byte{0x60}, asm.Vec([]byte{0x64, 0}), asm.Vec())),
			asm.Section(asm.FunctionSection, asm.U(0)),
			asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 0)),
			asm.Section(asm.CodeSection, asm.Code(0))),
		"SIMD": command(asm.Code(0, asm.Const(1), asm.Op(0xfd, 0x0f), asm.Op(asm.Drop))),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(t.Context(), Config{Name: "/m.wasm", Binary: module}); err != nil {
				t.Error(err)
			}
		})
	}
}

// No file makes Load panic, or say nothing.
func FuzzLoad(f *testing.F) {
	data, print := texts("x")
	f.Add(guest(0, data, function{"_start", typeVoid, asm.Code(0, print(0))}))
	f.Add(importing(asm.FuncType("", ""), asm.Import("env", "t", asm.Table, 0x70, 0, 1), asm.Import("env", "g", asm.Global, 0x7f, 0)))
	f.Add(asm.Join(exporting("_start"), asm.Custom("target_features", asm.Vec(asm.Join([]byte{'+'}, asm.Bytes("relaxed-simd"))))))
	f.Fuzz(func(t *testing.T, module []byte) {
		instance, err := Load(t.Context(), Config{Name: "/m.wasm", Binary: module, MemoryLimit: 64 * mib})
		if (instance == nil) == (err == nil) {
			t.Fatalf("instance %v, error %v", instance, err)
		}
	})
}
