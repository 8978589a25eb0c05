package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

const most = 0xffffffff

var files = []Recipe{
	{Name: "gzip-bomb", What: "64 MiB of zeros, compressed to 64 kB", Outcome: Outcome{Refused: "looks like a gzip archive"},
		Module: func() []byte {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			w.Write(make([]byte, 64<<20))
			w.Close()
			return b.Bytes()
		}},
	{Name: "too-large", What: "a sparse file of 2 GiB", Module: parts{}.module, Zeros: 2 << 30,
		Outcome: Outcome{Refused: "bytes are more than the 1073741824 that a module may have"}},
	{Name: "zeros", What: "a file of zeros", Module: func() []byte { return nil }, Zeros: 1 << 20,
		Outcome: Outcome{Refused: "is not a WebAssembly module: it starts with the bytes 00 00 00 00"}},
	{Name: "preamble", What: "a module with nothing in it", Module: func() []byte { return asm.Module() },
		Outcome: Outcome{Refused: "exports no function _start"}},
	{Name: "empty-sections", What: "every section, each with nothing in it", Outcome: Outcome{Refused: "exports no function _start"},
		Module: func() []byte {
			var sections [][]byte
			for _, id := range []byte{1, 2, 3, 4, 5, 13, 6, 7, 9, 10, 11} {
				sections = append(sections, asm.Section(id))
			}
			return asm.Module(sections...)
		}},
}

var sections = []Recipe{
	{Name: "section-too-long", What: "a section that ends beyond the file", Outcome: Outcome{Refused: "section 1 (type) claims 4294967295 bytes where 4 bytes are left"},
		Module: func() []byte { return asm.Module([]byte{asm.TypeSection}, asm.U(most), []byte{1, 0x60, 0, 0}) }},
	{Name: "section-too-short", What: "a section that ends before its content", Outcome: Outcome{Refused: "section 3 (function) claims 16 functions where 1 byte is left"},
		Module: func() []byte {
			return parts{functions: asm.Raw(asm.FunctionSection, asm.Join(asm.U(16), asm.U(0)))}.module()
		}},
	{Name: "size-overlong", What: "a section's size in more bytes than a number may have", Outcome: Outcome{Refused: "section 1 (type) has a number beyond 32 bits"},
		Module: func() []byte {
			return asm.Module([]byte{asm.TypeSection, 0x84, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 0x60, 0, 0})
		}},
	{Name: "size-overflows", What: "a section's size beyond 32 bits", Outcome: Outcome{Refused: "section 1 (type) has a number beyond 32 bits"},
		Module: func() []byte {
			return asm.Module([]byte{asm.TypeSection, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0x60, 0, 0})
		}},
	{Name: "truncated", What: "a module that breaks off in its code", Outcome: Outcome{Refused: "section 10 (code) claims 4 bytes where 2 bytes are left"},
		Module: func() []byte { m := parts{}.module(); return m[:len(m)-2] }},
	{Name: "sections-reversed", What: "sections in the wrong order, and twice", Outcome: Outcome{Refused: "invalid section order"},
		Module: func() []byte { return asm.Module(asm.Section(asm.FunctionSection), asm.Section(asm.TypeSection)) }},
	{Name: "code-missing", What: "100 functions and no code", Outcome: Outcome{Refused: "function and code section have inconsistent lengths: 100 != 0"},
		Module: func() []byte {
			return parts{functions: asm.Raw(asm.FunctionSection, times(100, asm.U(0))), code: []byte{}}.module()
		}},
	{Name: "data-count-lies", What: "a count of data segments that is not theirs", Outcome: Outcome{Refused: "data count section (4294967295) doesn't match the length of data section (1)"},
		Module: func() []byte {
			return parts{memory: pages(1), dataCount: asm.Raw(dataCountSection, asm.U(most)), data: asm.Section(asm.DataSection, asm.Data(0, "x"))}.module()
		}},
}

var definitions = []Recipe{
	claiming("types-claimed", "type", "types", asm.TypeSection),
	claiming("imports-claimed", "import", "imports", asm.ImportSection),
	claiming("functions-claimed", "function", "functions", asm.FunctionSection),
	claiming("tables-claimed", "table", "tables", asm.TableSection),
	claiming("globals-claimed", "global", "globals", globalSection),
	claiming("exports-claimed", "export", "exports", asm.ExportSection),
	claiming("elements-claimed", "element", "element segments", asm.ElementSection),
	claiming("codes-claimed", "code", "functions", asm.CodeSection),
	claiming("data-claimed", "data", "data segments", asm.DataSection),
	{Name: "types-million", What: "1,000,001 types", Outcome: Outcome{Refused: "has 1000001 types; a module may have 1000000"},
		Module: func() []byte { return parts{types: asm.Raw(asm.TypeSection, times(1_000_001, void))}.module() }},
	{Name: "type-group", What: "a recursive type group of 4,294,967,295 types", Outcome: Outcome{Refused: "claims 4294967295 types of a group where 3 bytes are left"},
		Module: func() []byte {
			return parts{types: asm.Section(asm.TypeSection, asm.Join([]byte{0x4e}, asm.U(most), void))}.module()
		}},
	{Name: "type-groups", What: "a recursive type group of 100,000 types that name one another",
		Module: func() []byte {
			group := asm.Join([]byte{0x4e}, times(100_000, asm.Join([]byte{0x60, 1, 0x63, 1}, asm.U(0))))
			return parts{types: asm.Section(asm.TypeSection, void, group)}.module()
		}},
	{Name: "parameters", What: "a function of 1,001 parameters", Outcome: Outcome{Refused: "has a function type of 1001 parameters; a function may have 1000"},
		Module: func() []byte {
			return parts{types: asm.Section(asm.TypeSection, void, asm.FuncType(strings.Repeat("\x7f", 1001), ""))}.module()
		}},
	{Name: "parameters-claimed", What: "a function of 4,294,967,295 parameters, in one byte", Outcome: Outcome{Refused: "claims 4294967295 parameters where 1 byte is left"},
		Module: func() []byte {
			return parts{types: asm.Raw(asm.TypeSection, asm.Join(asm.U(1), []byte{0x60}, asm.U(most), []byte{0x7f}))}.module()
		}},
	{Name: "results", What: "a function of 1,001 results", Outcome: Outcome{Refused: "has a function type of 1001 results; a function may have 1000"},
		Module: func() []byte {
			return parts{types: asm.Section(asm.TypeSection, void, asm.FuncType("", strings.Repeat("\x7f", 1001)))}.module()
		}},
	{Name: "imports-million", What: "1,000,001 imports", Outcome: Outcome{Refused: "has 1000001 imports; a module may have 1000000"},
		Module: func() []byte {
			return parts{imports: asm.Raw(asm.ImportSection, times(1_000_001, asm.Import("m", "f", asm.Func, 0)))}.module()
		}},
	{Name: "imports-many", What: "100,000 imports that nobody provides", Outcome: Outcome{Refused: "and 99992 more"},
		Module: func() []byte {
			return parts{imports: asm.Raw(asm.ImportSection, times(100_000, asm.Import("m", "f", asm.Func, 0)))}.module()
		}},
	{Name: "exports-million", What: "1,000,001 exports", Outcome: Outcome{Refused: "has 1000001 exports; a module may have 1000000"},
		Module: func() []byte {
			return parts{exports: asm.Raw(asm.ExportSection, times(1_000_001, asm.Export("f", asm.Func, 0)))}.module()
		}},
	{Name: "exports-twice", What: "the same export 1,000 times", Outcome: Outcome{Refused: "duplicates name \"_start\""},
		Module: func() []byte {
			return parts{exports: asm.Raw(asm.ExportSection, times(1_000, asm.Export("_start", asm.Func, 0)))}.module()
		}},
	{Name: "functions-million", What: "1,000,001 functions", Outcome: Outcome{Refused: "has 1000001 functions; a module may have 1000000"},
		Module: func() []byte {
			return parts{functions: asm.Raw(asm.FunctionSection, times(1_000_001, asm.U(0))),
				code: asm.Raw(asm.CodeSection, times(1_000_001, asm.Code(0)))}.module()
		}},
	{Name: "functions-many", What: "100,000 functions",
		Module: func() []byte {
			return parts{functions: asm.Raw(asm.FunctionSection, times(100_000, asm.U(0))),
				code: asm.Raw(asm.CodeSection, times(100_000, asm.Code(0)))}.module()
		}},
	{Name: "exports-many", What: "100,000 functions, all of them exported", Outcome: Outcome{Refused: "has 100000 functions and 100000 exports, which takes too long to look through"},
		Module: func() []byte {
			return parts{functions: asm.Raw(asm.FunctionSection, times(100_000, asm.U(0))),
				exports: asm.Raw(asm.ExportSection, each(100_000, func(i int) []byte { return asm.Export(fmt.Sprint(i), asm.Func, uint64(i)) })),
				code:    asm.Raw(asm.CodeSection, times(100_000, asm.Code(0)))}.module()
		}},
	{Name: "globals-million", What: "1,000,001 globals", Outcome: Outcome{Refused: "has 1000001 globals; a module may have 1000000"},
		Module: func() []byte {
			return parts{globals: asm.Raw(globalSection, times(1_000_001, asm.Join([]byte{asm.I32, 0}, asm.Const(0), []byte{asm.End})))}.module()
		}},
	{Name: "tables-many", What: "100,001 tables", Outcome: Outcome{Refused: "has 100001 tables; a module may have 100000"},
		Module: func() []byte {
			return parts{tables: asm.Raw(asm.TableSection, times(100_001, []byte{funcref, 0, 1}))}.module()
		}},
	{Name: "table-huge", What: "a table of 4,294,967,295 elements", Outcome: Outcome{Refused: "has tables of 4294967295 elements; they may have 10000000"},
		Module: func() []byte {
			return parts{tables: asm.Section(asm.TableSection, asm.Join([]byte{funcref, 0}, asm.U(most)))}.module()
		}},
	{Name: "tables-huge", What: "100 tables of 10,000,000 elements", Outcome: Outcome{Refused: "has tables of 20000000 elements; they may have 10000000"},
		Module: func() []byte {
			return parts{tables: asm.Raw(asm.TableSection, times(100, asm.Join([]byte{funcref, 0}, asm.U(10_000_000))))}.module()
		}},
	{Name: "elements-out-of-bounds", What: "an element segment beyond its table", Outcome: Outcome{Why: "the segment is left out"},
		Module: func() []byte {
			return parts{tables: asm.Section(asm.TableSection, []byte{funcref, 0, 1}),
				elements: asm.Section(asm.ElementSection, asm.Join([]byte{0}, asm.Const(1<<30), []byte{asm.End}, asm.Vec(asm.U(0))))}.module()
		}},
	{Name: "elements-huge", What: "an element segment of 4,294,967,295 functions, in one byte", Outcome: Outcome{Refused: "claims 4294967295 elements of a segment where 1 byte is left"},
		Module: func() []byte {
			return parts{tables: asm.Section(asm.TableSection, []byte{funcref, 0, 1}),
				elements: asm.Section(asm.ElementSection, asm.Join([]byte{0}, asm.Const(0), []byte{asm.End}, asm.U(most), asm.U(0)))}.module()
		}},
	{Name: "constant-chain", What: "a constant expression of a million additions",
		Module: func() []byte {
			chain := asm.Join(asm.Const(0), repeat(1_000_000, asm.Join(asm.Const(1), []byte{asm.I32Add})))
			return parts{globals: asm.Section(globalSection, asm.Join([]byte{asm.I32, 0}, chain, []byte{asm.End}))}.module()
		}},
	{Name: "constant-stack", What: "a constant expression that leaves a million values", Outcome: Outcome{Refused: "stack has more than one value at end of constant expression"},
		Module: func() []byte {
			return parts{globals: asm.Section(globalSection, asm.Join([]byte{asm.I32, 0}, repeat(1_000_000, asm.Const(1)), []byte{asm.End}))}.module()
		}},
}

// claiming is a section that claims to have 4,294,967,295 entries, and has none.
func claiming(name, section, entries string, id byte) Recipe {
	return Recipe{Name: name, What: fmt.Sprintf("4,294,967,295 %s, in five bytes of the section %s", entries, section),
		Outcome: Outcome{Refused: fmt.Sprintf("section %d (%s) claims 4294967295 %s where 0 bytes are left", id, section, entries)},
		Module:  func() []byte { return asm.Module(asm.Raw(id, asm.U(most))) }}
}

// commands clear a terminal, set its title, and turn the writing round.
const commands = "\x1b[2J\x1b]0;owned\a\r\u202e"

// shown is what may be seen of them.
const shown = `\x1b[2J\x1b]0;owned\a\r\u202e`

var names = []Recipe{
	{Name: "name-escapes-import", What: "an import whose name commands a terminal", Outcome: Outcome{Refused: "imports m." + shown},
		Module: func() []byte {
			return parts{imports: asm.Section(asm.ImportSection, asm.Import("m", commands, asm.Func, 0))}.module()
		}},
	{Name: "name-escapes-export", What: "exports whose names command a terminal", Outcome: Outcome{Refused: "it exports the functions " + shown},
		Module: func() []byte {
			return parts{exports: asm.Section(asm.ExportSection, asm.Export(commands, asm.Func, 0))}.module()
		}},
	{Name: "name-escapes-function", What: "a trap in a function whose name commands a terminal",
		Outcome: Outcome{Exit: 134, Stderr: "at " + shown},
		Module: func() []byte {
			return asm.Join(running(asm.Op(asm.Unreachable)), functionNames(commands+"\n    at a_lie()"))
		}},
	{Name: "name-invalid", What: "an import whose name is not UTF-8", Outcome: Outcome{Refused: `m.f\xff\xfe`},
		Module: func() []byte {
			return parts{imports: asm.Section(asm.ImportSection, asm.Import("m", "f\xff\xfe", asm.Func, 0))}.module()
		}},
	{Name: "name-long", What: "an import with a name of 1 MB", Outcome: Outcome{Refused: "bytes more), which this runtime does not provide"},
		Module: func() []byte {
			return parts{imports: asm.Section(asm.ImportSection, asm.Import(strings.Repeat("m", 1e6), strings.Repeat("n", 1e6), asm.Func, 0))}.module()
		}},
	{Name: "name-long-function", What: "a trap in a function with a name of 8 MB", Outcome: Outcome{Exit: 134, Stderr: "at nnn"},
		Module: func() []byte {
			return asm.Join(running(asm.Op(asm.Unreachable)), functionNames(strings.Repeat("n", 8e6)))
		}},
	{Name: "names-huge", What: "a name section of 64 MiB", Outcome: Outcome{Why: "nobody reads it"}, Zeros: 64 << 20,
		Module: func() []byte {
			m := parts{}.module()
			return append(m, asm.Join([]byte{0}, asm.U(5+64<<20), asm.Bytes("name"))...)
		}},
	{Name: "names-claimed", What: "a name section of 4,294,967,295 names, in five bytes", Outcome: Outcome{Why: "nobody reads it"},
		Module: func() []byte {
			return asm.Join(parts{}.module(), asm.Custom("name", asm.Raw(1, asm.U(most))))
		}},
	{Name: "names-of-locals", What: "the names of the locals of 4,294,967,295 functions, in five bytes", Outcome: Outcome{Why: "nobody reads it"},
		Module: func() []byte {
			return asm.Join(parts{}.module(), asm.Custom("name", asm.Raw(2, asm.U(most))))
		}},
	{Name: "custom-huge", What: "a custom section of 64 MiB", Outcome: Outcome{Why: "nobody reads it"}, Zeros: 64 << 20,
		Module: func() []byte {
			return append(parts{}.module(), asm.Join([]byte{0}, asm.U(5+64<<20), asm.Bytes("junk"))...)
		}},
	{Name: "custom-many", What: "100,000 custom sections", Outcome: Outcome{Why: "nobody reads them"},
		Module: func() []byte { return append(parts{}.module(), repeat(100_000, asm.Custom("junk", nil))...) }},
	{Name: "custom-without-name", What: "a custom section that ends within its name", Outcome: Outcome{Refused: "section 0 (custom) claims 100 bytes of a name where 1 byte is left"},
		Module: func() []byte { return append(parts{}.module(), 0, 2, 100, 'x') }},
}

func functionNames(names ...string) []byte {
	return asm.Custom("name", asm.Raw(1, each(len(names), func(i int) []byte {
		return asm.Join(asm.U(uint64(i)), asm.Bytes(names[i]))
	})))
}
