package hostile

import "github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"

// parts are the sections of a module, whole, in the order in which a module has
// them. Of those that are nil, types, functions, exports and code together make
// a function _start that does nothing.
type parts struct {
	types, imports, functions, tables, memory, tags, globals, exports, start, elements, dataCount, code, data, custom []byte
}

func (p parts) module() []byte {
	or := func(part, otherwise []byte) []byte {
		if part == nil {
			return otherwise
		}
		return part
	}
	return asm.Module(
		or(p.types, asm.Section(asm.TypeSection, void)),
		p.imports,
		or(p.functions, asm.Section(asm.FunctionSection, asm.U(0))),
		p.tables, p.memory, p.tags, p.globals,
		or(p.exports, asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 0))),
		p.start, p.elements, p.dataCount,
		or(p.code, asm.Section(asm.CodeSection, asm.Code(0))),
		p.data, p.custom)
}

// Sections and instructions beside those of package asm.
const (
	globalSection    = 6
	dataCountSection = 12
	tagSection       = 13

	block        = 0x02
	ifThen       = 0x04
	throw        = 0x08
	br           = 0x0c
	brTable      = 0x0e
	callIndirect = 0x11
	selectValue  = 0x1b
	tryTable     = 0x1f
	i32Eqz       = 0x45
	funcref      = 0x70
	f64          = 0x7c
	v128         = 0x7b
	misc         = 0xfc
	simd         = 0xfd
)

// void is the type of a function that takes and returns nothing.
var void = asm.FuncType("", "")

// running is a module whose _start does this, with a memory of one page.
func running(instructions ...[]byte) []byte {
	return parts{memory: pages(1), code: asm.Section(asm.CodeSection, asm.Code(0, instructions...))}.module()
}

func pages(n uint64) []byte { return asm.Section(asm.MemorySection, asm.Join([]byte{0}, asm.U(n))) }

// times is a vector of n equal items.
func times(n int, item []byte) []byte { return asm.Join(asm.U(uint64(n)), repeat(n, item)) }

func repeat(n int, item []byte) []byte {
	all := make([]byte, 0, n*len(item))
	for range n {
		all = append(all, item...)
	}
	return all
}

// each is a vector of n items.
func each(n int, item func(i int) []byte) []byte {
	all := asm.U(uint64(n))
	for i := range n {
		all = append(all, item(i)...)
	}
	return all
}
