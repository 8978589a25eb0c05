package hostile

import (
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

// manyLocals is a function with groups of locals, n in each.
func manyLocals(groups int, n uint64) []byte {
	body := asm.Join(times(groups, asm.Join(asm.U(n), []byte{asm.I32})), []byte{asm.End})
	return parts{code: asm.Section(asm.CodeSection, asm.Join(asm.U(uint64(len(body))), body))}.module()
}

// outOfMemory is what is said of a module that takes more to compile than its
// container may have.
const outOfMemory = "out of memory: compiling the module took more than its memory limit"

var bodies = []Recipe{
	{Name: "function-huge", What: "a function of 10 MB", Outcome: Outcome{Refused: "has a function of 10000002 bytes; a function may have 7654321"},
		Module: func() []byte { return running(repeat(10_000_000, []byte{0x01})) }},
	{Name: "locals", What: "a function of 50,001 locals", Outcome: Outcome{Refused: "has a function of 50001 locals; a function may have 50000"},
		Module: func() []byte { return manyLocals(1, 50_001) }},
	{Name: "locals-most", What: "a function of 50,000 locals", Module: func() []byte { return manyLocals(1, 50_000) }},
	{Name: "locals-overflow", What: "groups of 4,294,967,295 locals, whose sum is more than 32 bits", Outcome: Outcome{Refused: "has a function of 4294967295000 locals; a function may have 50000"},
		Module: func() []byte { return manyLocals(1000, most) }},
	{Name: "locals-many-groups", What: "a million groups of no local", Module: func() []byte { return manyLocals(1_000_000, 0) }},
	{Name: "blocks-nested", What: "100,000 blocks, each in another", Outcome: Outcome{Slow: true},
		Module: func() []byte {
			return running(repeat(100_000, []byte{block, asm.Void}), repeat(100_000, []byte{asm.End}))
		}},
	{Name: "loops-nested", What: "20,000 loops, each in another", Outcome: Outcome{Slow: true},
		Module: func() []byte {
			return running(repeat(20_000, []byte{asm.Loop, asm.Void}), repeat(20_000, []byte{asm.End}))
		}},
	{Name: "ifs-nested", What: "20,000 conditions, each in another", Outcome: Outcome{Slow: true},
		Module: func() []byte {
			return running(repeat(20_000, asm.Join(asm.Const(1), []byte{ifThen, asm.Void})), repeat(20_000, []byte{asm.End}))
		}},
	{Name: "ifs-in-a-row", What: "a million conditions one after another, with a local used before and after", Outcome: Outcome{Refused: outOfMemory},
		Module: func() []byte {
			body := asm.Join(asm.Const(1), []byte{0x21, 0}, repeat(1_000_000, []byte{asm.LocalGet, 1, ifThen, asm.Void, asm.End}), []byte{asm.LocalGet, 0, asm.Drop})
			return parts{code: asm.Section(asm.CodeSection, asm.Code(2, body))}.module()
		}},
	{Name: "branches", What: "a branch table of two million targets", Outcome: Outcome{Slow: true},
		Module: func() []byte {
			return running([]byte{block, asm.Void}, asm.Const(0), []byte{brTable}, times(2_000_000, asm.U(0)), asm.U(0), []byte{asm.End})
		}},
	{Name: "branch-tables", What: "5,000 branch tables of 500 targets each, in 500 blocks", Outcome: Outcome{Refused: outOfMemory},
		Module: func() []byte {
			table := asm.Join(asm.Const(0), []byte{ifThen, asm.Void}, asm.Const(0), []byte{brTable}, each(500, func(i int) []byte { return asm.U(uint64(i)) }), asm.U(0), []byte{asm.End})
			return running(repeat(500, []byte{block, asm.Void}), repeat(5_000, table), repeat(500, []byte{asm.End}))
		}},
	{Name: "unreachable-stack", What: "a million instructions that take values from a stack that is never reached", Outcome: Outcome{Exit: 134, Stderr: "trapped: unreachable"},
		Module: func() []byte {
			return running(asm.Op(asm.Unreachable), repeat(1_000_000, []byte{selectValue, asm.Drop, asm.I32Add}), asm.Op(asm.Drop))
		}},
	{Name: "drops", What: "500,000 values, then as many drops",
		Module: func() []byte { return running(repeat(500_000, asm.Const(1)), repeat(500_000, []byte{asm.Drop})) }},
	{Name: "selects", What: "a million selections in a row", Outcome: Outcome{Refused: outOfMemory},
		Module: func() []byte {
			return running(asm.Const(1), repeat(1_000_000, asm.Join(asm.Const(2), asm.Const(3), []byte{selectValue})), []byte{asm.Drop})
		}},
	{Name: "results-wide", What: "2,000 calls of a function with 1,000 results", Outcome: Outcome{Refused: outOfMemory},
		Module: func() []byte {
			call := asm.Join([]byte{asm.Call, 1}, repeat(1000, []byte{asm.Drop}))
			return parts{
				types:     asm.Section(asm.TypeSection, void, asm.FuncType("", strings.Repeat("\x7f", 1000))),
				functions: asm.Section(asm.FunctionSection, asm.U(0), asm.U(1)),
				code:      asm.Section(asm.CodeSection, asm.Code(0, repeat(2000, call)), asm.Code(0, repeat(1000, asm.Const(1)))),
			}.module()
		}},
	{Name: "parameters-wide", What: "2,000 calls of a function with 1,000 parameters", Outcome: Outcome{Refused: outOfMemory},
		Module: func() []byte {
			call := asm.Join(repeat(1000, asm.Const(1)), []byte{asm.Call, 1})
			return parts{
				types:     asm.Section(asm.TypeSection, void, asm.FuncType(strings.Repeat("\x7f", 1000), "")),
				functions: asm.Section(asm.FunctionSection, asm.U(0), asm.U(1)),
				code:      asm.Section(asm.CodeSection, asm.Code(0, repeat(2000, call)), asm.Code(0)),
			}.module()
		}},
	{Name: "vectors", What: "a function of 200,000 vector instructions",
		Module: func() []byte {
			return running(asm.Const(1), []byte{simd, 0x0f}, repeat(200_000, asm.Join([]byte{simd, 0x0c}, make([]byte, 16), []byte{simd, 0x6e})), []byte{asm.Drop})
		}},
	{Name: "handlers-nested", What: "3,000 exception handlers, each in another",
		Module: func() []byte {
			return parts{tags: asm.Section(tagSection, []byte{0, 0}), code: asm.Section(asm.CodeSection, asm.Code(0,
				repeat(3_000, []byte{tryTable, asm.Void, 1, 2, 0}), repeat(3_000, []byte{asm.End})))}.module()
		}},
	{Name: "handlers-recursive", What: "a function that calls itself for ever within an exception handler", Outcome: Outcome{OOM: true},
		Module: func() []byte {
			return running([]byte{tryTable, asm.Void, 1, 2, 0}, asm.Op(asm.Call, 0), asm.Op(asm.End))
		}},
	{Name: "exception", What: "an exception that nobody catches", Outcome: Outcome{Exit: 134, Stderr: "uncaught exception"},
		Module: func() []byte {
			return parts{tags: asm.Section(tagSection, []byte{0, 0}), code: asm.Section(asm.CodeSection, asm.Code(0, []byte{throw, 0}))}.module()
		}},
}

var memories = []Recipe{
	{Name: "memory-4gib", What: "a memory that starts with 4 GiB", Outcome: Outcome{Refused: "wants to start with 4096 MiB of memory; of the container's limit"},
		Module: func() []byte { return parts{memory: pages(65536)}.module() }},
	{Name: "memory-beyond", What: "a memory that starts with more than 4 GiB", Outcome: Outcome{Refused: "min 65537 pages (4 Gi) over limit of 65536 pages"},
		Module: func() []byte { return parts{memory: pages(65537)}.module() }},
	{Name: "memory-max-beyond", What: "a memory that may grow beyond 4 GiB", Outcome: Outcome{Refused: "max 65537 pages (4 Gi) over limit of 65536 pages"},
		Module: func() []byte {
			return parts{memory: asm.Section(asm.MemorySection, asm.Join([]byte{1}, asm.U(1), asm.U(65537)))}.module()
		}},
	{Name: "memory-grow", What: "a memory that grows until that fails, and is written to", Outcome: Outcome{Why: "`memory.grow` fails below the limit"},
		Module: func() []byte {
			return parts{memory: pages(1), code: asm.Section(asm.CodeSection, asm.Code(1,
				asm.Op(asm.Loop, asm.Void),
				asm.Const(16), asm.Op(asm.MemoryGrow, 0), asm.Op(asm.LocalTee, 0),
				asm.Const(-1), asm.Op(asm.I32Ne), []byte{ifThen, asm.Void},
				// The whole of the new MiB: memory.fill.
				asm.Op(asm.LocalGet, 0), asm.Const(16), []byte{0x74}, asm.Const(7), asm.Const(1<<20), []byte{misc, 11, 0},
				asm.Op(br, 1), asm.Op(asm.End),
				asm.Op(asm.End)))}.module()
		}},
	{Name: "table-grow", What: "a table that grows for ever", Outcome: Outcome{OOM: true},
		Module: func() []byte {
			// ref.null func and table.grow.
			return parts{tables: asm.Section(asm.TableSection, []byte{funcref, 0, 1}), code: asm.Section(asm.CodeSection, asm.Code(0,
				endlessly([]byte{0xd0, funcref}, asm.Const(1<<20), []byte{misc, 15, 0, asm.Drop})))}.module()
		}},
	{Name: "data-out-of-bounds", What: "a data segment beyond the memory", Outcome: Outcome{Refused: "out of bounds memory access"},
		Module: func() []byte {
			return parts{memory: pages(1), data: asm.Section(asm.DataSection, asm.Data(-1, "x"))}.module()
		}},
	{Name: "data-passive", What: "a passive data segment, copied beyond the memory", Outcome: Outcome{Exit: 134, Stderr: "out of bounds memory access"},
		Module: func() []byte {
			return parts{memory: pages(1), dataCount: asm.Raw(dataCountSection, asm.U(1)),
				code: asm.Section(asm.CodeSection, asm.Code(0, asm.Const(65535), asm.Const(0), asm.Const(2), []byte{misc, 8, 0, 0})),
				data: asm.Section(asm.DataSection, asm.Join([]byte{1}, asm.Bytes("xx")))}.module()
		}},
	{Name: "data-overlapping", What: "50,000 data segments at the same place",
		Module: func() []byte {
			return parts{memory: pages(1), data: asm.Raw(asm.DataSection, times(50_000, asm.Data(0, "sixteen bytes...")))}.module()
		}},
	{Name: "data-many", What: "100,001 data segments", Outcome: Outcome{Refused: "has 100001 data segments; a module may have 100000"},
		Module: func() []byte {
			return parts{memory: pages(1), data: asm.Raw(asm.DataSection, times(100_001, asm.Data(0, "x")))}.module()
		}},
	{Name: "data-segment-claimed", What: "a data segment of 4,294,967,295 bytes, in one", Outcome: Outcome{Refused: "claims 4294967295 bytes of a segment where 1 byte is left"},
		Module: func() []byte {
			return parts{memory: pages(1), data: asm.Section(asm.DataSection, asm.Join([]byte{0}, asm.Const(0), []byte{asm.End}, asm.U(most), []byte("x")))}.module()
		}},
}

var runs = []Recipe{
	{Name: "start-loops", What: "a start function that never returns", Outcome: Outcome{Killed: true},
		Module: func() []byte {
			return parts{start: asm.Raw(asm.StartSection, asm.U(0)), code: asm.Section(asm.CodeSection, asm.Code(0, []byte{asm.Loop, asm.Void, br, 0, asm.End}))}.module()
		}},
	{Name: "start-traps", What: "a start function that traps", Outcome: Outcome{Exit: 134, Stderr: "trapped: unreachable"},
		Module: func() []byte {
			return parts{start: asm.Raw(asm.StartSection, asm.U(0)), code: asm.Section(asm.CodeSection, asm.Code(0, asm.Op(asm.Unreachable)))}.module()
		}},
	{Name: "recursion", What: "a function that calls itself for ever", Outcome: Outcome{Exit: 134, Stderr: "trapped: stack overflow"},
		Module: func() []byte { return running(asm.Op(asm.Call, 0)) }},
	{Name: "recursion-indirect", What: "the same by a table", Outcome: Outcome{Exit: 134, Stderr: "trapped: stack overflow"},
		Module: func() []byte {
			return parts{tables: asm.Section(asm.TableSection, []byte{funcref, 0, 1}),
				elements: asm.Section(asm.ElementSection, asm.Join([]byte{0}, asm.Const(0), []byte{asm.End}, asm.Vec(asm.U(0)))),
				code:     asm.Section(asm.CodeSection, asm.Code(0, asm.Const(0), []byte{callIndirect, 0, 0}))}.module()
		}},
	{Name: "recursion-frames", What: "the same with 100 values on the stack", Outcome: Outcome{Exit: 134, Stderr: "trapped: stack overflow"},
		Module: func() []byte {
			var keep [][]byte
			for range 100 {
				keep = append(keep, []byte{asm.Call, 1})
			}
			keep = append(keep, []byte{asm.Call, 0}, repeat(100, []byte{asm.Drop}))
			return parts{types: asm.Section(asm.TypeSection, void, asm.FuncType("", "\x7f")),
				functions: asm.Section(asm.FunctionSection, asm.U(0), asm.U(1)),
				code:      asm.Section(asm.CodeSection, asm.Code(0, keep...), asm.Code(0, asm.Const(1)))}.module()
		}},
}
