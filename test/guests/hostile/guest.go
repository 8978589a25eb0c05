package hostile

import (
	"slices"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

// The functions of WASI that the guests below import, by index.
const (
	procExit = iota
	fdWrite
	fdReaddir
	pathOpen
	pathFilestatGet
	pollOneoff
	randomGet
	schedYield
	fdSeek
	own
)

// asking is a guest with a memory of so many pages, which runs the
// instructions. They leave an error number, and the guest exits with 0 where
// that is not 0: the call was refused, as it should be.
func asking(memory uint64, data []byte, instructions ...[]byte) []byte {
	return guest(memory, data, asm.Join(asm.Join(instructions...), []byte{i32Eqz, asm.Call, procExit}))
}

// guest has the imports and a memory.
func guest(memory uint64, data []byte, body []byte) []byte {
	const wasi = "wasi_snapshot_preview1"
	i32s := func(n int) string { return string(repeat(n, []byte{asm.I32})) }
	types := [][]byte{
		asm.FuncType("\x7f", ""),
		asm.FuncType(i32s(4), "\x7f"),
		asm.FuncType("\x7f\x7f\x7f\x7e\x7f", "\x7f"),
		asm.FuncType("\x7f\x7f\x7f\x7f\x7f\x7e\x7e\x7f\x7f", "\x7f"),
		asm.FuncType(i32s(5), "\x7f"),
		asm.FuncType(i32s(4), "\x7f"),
		asm.FuncType(i32s(2), "\x7f"),
		asm.FuncType("", "\x7f"),
		asm.FuncType("\x7f\x7e\x7f\x7f", "\x7f"),
		void,
	}
	var imports [][]byte
	for i, name := range []string{"proc_exit", "fd_write", "fd_readdir", "path_open", "path_filestat_get", "poll_oneoff", "random_get", "sched_yield", "fd_seek"} {
		imports = append(imports, asm.Import(wasi, name, asm.Func, byte(i)))
	}
	return parts{
		types:     asm.Section(asm.TypeSection, types...),
		imports:   asm.Section(asm.ImportSection, imports...),
		functions: asm.Section(asm.FunctionSection, asm.U(own)),
		memory:    pages(memory),
		exports:   asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, own), asm.Export("memory", asm.Memory, 0)),
		code:      asm.Section(asm.CodeSection, asm.Code(1, body)),
		data:      data,
	}.module()
}

// root is the descriptor of the guest's root directory.
const root = 3

// long is the instruction i64.const.
func long(n int64) []byte { return asm.Join([]byte{asm.I64Const}, asm.S(n)) }

// endlessly repeats instructions for ever.
func endlessly(instructions ...[]byte) []byte {
	return asm.Join([]byte{asm.Loop, asm.Void}, asm.Join(instructions...), []byte{br, 0, asm.End})
}

var calls = []Recipe{
	{Name: "files-exhausted", What: "files opened until that fails", Outcome: Outcome{Why: "the call fails"},
		Module: func() []byte {
			open := asm.Join(asm.Const(root), asm.Const(0), asm.Const(64), asm.Const(1), asm.Const(0), long(0), long(0), asm.Const(0), asm.Const(128), []byte{asm.Call, pathOpen})
			return asking(1, asm.Section(asm.DataSection, asm.Data(64, ".")),
				[]byte{asm.Loop, asm.Void}, open, []byte{asm.LocalTee, 0, i32Eqz, asm.BrIf, 0, asm.End}, []byte{asm.LocalGet, 0})
		}},
	{Name: "path-long", What: "a path of 1 MB", Outcome: Outcome{Why: "the call fails"},
		Module: func() []byte {
			return asking(32, nil,
				asm.Const(0), asm.Const('a'), asm.Const(1e6), []byte{misc, 11, 0},
				asm.Const(root), asm.Const(0), asm.Const(0), asm.Const(1e6), asm.Const(1<<20), []byte{asm.Call, pathFilestatGet})
		}},
	{Name: "path-deep", What: "a path of 300,000 folders up", Outcome: Outcome{Why: "the call fails"},
		Module: func() []byte {
			return asking(32, asm.Section(asm.DataSection, asm.Data(0, string(repeat(300_000, []byte("../"))))),
				asm.Const(root), asm.Const(0), asm.Const(0), asm.Const(900_000), asm.Const(1<<20), []byte{asm.Call, pathFilestatGet})
		}},
	{Name: "poll-million", What: "a poll of a million subscriptions",
		Module: func() []byte {
			// 48 bytes for each subscription and 32 for each event; all zero is a
			// clock that has struck.
			return guest(1300, nil, asm.Join(asm.Const(0), asm.Const(48e6), asm.Const(1e6), asm.Const(80e6), []byte{asm.Call, pollOneoff, asm.Drop}))
		}},
	{Name: "poll-beyond", What: "a poll of subscriptions beyond the memory", Outcome: Outcome{Why: "the call fails"},
		Module: func() []byte {
			return asking(1, nil, asm.Const(0), asm.Const(0), asm.Const(-1), asm.Const(0), []byte{asm.Call, pollOneoff})
		}},
	{Name: "random-4gib", What: "4,294,967,295 random bytes", Outcome: Outcome{Why: "the call fails"},
		Module: func() []byte { return asking(1, nil, asm.Const(0), asm.Const(-1), []byte{asm.Call, randomGet}) }},
	{Name: "iovecs-million", What: "a write of a million empty buffers",
		Module: func() []byte {
			return guest(130, nil, asm.Join(asm.Const(1), asm.Const(8), asm.Const(1e6), asm.Const(0), []byte{asm.Call, fdWrite, asm.Drop}))
		}},
	{Name: "iovecs-overlapping", What: "a write of 500,000 buffers that are the same 64 MiB", Outcome: Outcome{Killed: true},
		Module: func() []byte {
			buffer := []byte{0, 0, 0, 0, 0, 0, 0, 4}
			return guest(1100, asm.Section(asm.DataSection, asm.Data(8, string(repeat(500_000, buffer)))),
				asm.Join(asm.Const(1), asm.Const(8), asm.Const(500_000), asm.Const(0), []byte{asm.Call, fdWrite, asm.Drop}))
		}},
	{Name: "iovecs-beyond", What: "a write of buffers beyond the memory", Outcome: Outcome{Why: "the call fails"},
		Module: func() []byte {
			return asking(1, asm.Section(asm.DataSection, asm.Data(8, "\xff\xff\x00\x00\xff\xff\xff\xff")),
				asm.Const(1), asm.Const(8), asm.Const(1), asm.Const(0), []byte{asm.Call, fdWrite})
		}},
	{Name: "readdir-beyond", What: "a folder read into a buffer beyond the memory",
		Module: func() []byte {
			return guest(1, nil, asm.Join(asm.Const(root), asm.Const(64), asm.Const(-1), long(0), asm.Const(0), []byte{asm.Call, fdReaddir, asm.Drop}))
		}},
	{Name: "readdir-cookie", What: "a folder read from a place where it never was",
		Module: func() []byte {
			return guest(1, nil, asm.Join(asm.Const(root), asm.Const(64), asm.Const(1000), long(-1), asm.Const(0), []byte{asm.Call, fdReaddir, asm.Drop}))
		}},
	{Name: "arguments", What: "3,000 arguments of 300 bytes", Args: slices.Repeat([]string{strings.Repeat("a", 300)}, 3000), Module: parts{}.module},
	{Name: "argument-long", What: "an argument of 200,000 bytes", Args: []string{strings.Repeat("a", 200_000)}, Module: parts{}.module,
		Outcome: Outcome{Refused: "argument list too long"}},
	{Name: "wait", What: "a wait for another thread, of which there is none", Outcome: Outcome{Killed: true},
		Module: func() []byte {
			// memory.atomic.wait32 of address 0, value 0 and no time-out.
			return parts{memory: asm.Section(asm.MemorySection, []byte{3, 1, 1}), code: asm.Section(asm.CodeSection, asm.Code(0,
				asm.Const(0), asm.Const(0), long(-1), []byte{0xfe, 1, 2, 0, asm.Drop}))}.module()
		}},
	{Name: "sleep", What: "a sleep for 584 years", Outcome: Outcome{Killed: true},
		Module: func() []byte {
			// A clock's id is at 16, its timeout at 24.
			return guest(1, asm.Section(asm.DataSection, asm.Data(16, "\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")),
				endlessly(asm.Const(0), asm.Const(64), asm.Const(1), asm.Const(128), []byte{asm.Call, pollOneoff, asm.Drop}))
		}},
	{Name: "yields", What: "a loop that yields for ever", Outcome: Outcome{Killed: true},
		Module: func() []byte { return guest(1, nil, endlessly([]byte{asm.Call, schedYield, asm.Drop})) }},
	{Name: "output-flood", What: "output for ever that nobody reads", Outcome: Outcome{Killed: true},
		Module: func() []byte {
			return guest(2, asm.Section(asm.DataSection, asm.Data(8, "\x10\x00\x00\x00\x00\x00\x01\x00")),
				endlessly(asm.Const(1), asm.Const(8), asm.Const(1), asm.Const(0), []byte{asm.Call, fdWrite, asm.Drop}))
		}},
}
