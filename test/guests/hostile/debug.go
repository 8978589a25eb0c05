package hostile

import (
	"encoding/binary"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

// debugInfo are DWARF sections of version 4 about one compilation unit, which
// spans the whole code and has such children.
type debugInfo struct {
	abbreviations []byte // after the unit's own, which is the first
	children      []byte
	lines         []byte // the line program's instructions
	ranges        []byte
	file          string
}

// Constants of DWARF (version 4, 7.5 and 7.21).
const (
	tagCompileUnit       = 0x11
	tagInlinedSubroutine = 0x1d

	attrStatements = 0x10
	attrLow        = 0x11
	attrHigh       = 0x12
	attrRanges     = 0x55

	formAddress = 0x01
	formOffset  = 0x17
	formPresent = 0x19
)

// trapping is a module that traps, with the debug information.
func (d debugInfo) trapping() []byte {
	abbreviations := asm.Join([]byte{1, tagCompileUnit, 1, attrStatements, formOffset, attrLow, formAddress, attrHigh, formAddress, 0, 0}, d.abbreviations, []byte{0})
	unit := asm.Join([]byte{4, 0, 0, 0, 0, 0, 4}, // version, abbreviations, size of an address
		[]byte{1}, little(0), little(1), little(1000), d.children, []byte{0})
	header := asm.Join([]byte{1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1}, // lengths of standard instructions
		[]byte{0}, []byte(d.file+"\x00"), []byte{0, 0, 0}, []byte{0})
	program := asm.Join([]byte{4, 0}, little(len(header)), header, []byte{0, 5, 2}, little(1), d.lines, []byte{0, 1, 1})
	return asm.Join(running(asm.Op(asm.Unreachable)),
		asm.Custom(".debug_abbrev", abbreviations),
		asm.Custom(".debug_info", asm.Join(little(len(unit)), unit)),
		asm.Custom(".debug_line", asm.Join(little(len(program)), program)),
		asm.Custom(".debug_ranges", d.ranges))
}

func little(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

// trapped is how a trap ends, whatever the debug information is like.
var trapped = Outcome{Exit: 134, Stderr: "at $0()", Why: "no source line"}

// oneLine is a line program that says that all is on one line.
var oneLine = []byte{1, 2, 200, 1} // copy; advance

var debugs = []Recipe{
	{Name: "debug-lines", What: "a trap, and a file and line for it in the debug information", Outcome: Outcome{Exit: 134, Stderr: "file.c:1"},
		Module: debugInfo{file: "file.c", lines: oneLine}.trapping},
	{Name: "debug-escapes", What: "the same, and the file's name commands a terminal", Outcome: Outcome{Exit: 134, Stderr: shown},
		Module: debugInfo{file: commands, lines: oneLine}.trapping},
	{Name: "debug-million-lines", What: "a trap, and six million lines", Outcome: trapped,
		Module: debugInfo{file: "file.c", lines: repeat(6_000_000, []byte{1})}.trapping},
	{Name: "debug-ranges", What: "a trap, and 200,000 inlined functions, each of the same 100,000 address ranges", Outcome: trapped,
		Module: debugInfo{file: "file.c", lines: oneLine,
			abbreviations: []byte{2, tagInlinedSubroutine, 0, attrRanges, formOffset, 0, 0},
			children:      repeat(200_000, asm.Join([]byte{2}, little(0))),
			ranges:        asm.Join(repeat(100_000, asm.Join(little(1), little(1000))), little(0), little(0))}.trapping},
	{Name: "debug-inlined", What: "a trap in 100,000 functions that are inlined into one another", Outcome: trapped,
		Module: debugInfo{file: "file.c", lines: oneLine,
			abbreviations: []byte{2, tagInlinedSubroutine, 1, attrLow, formAddress, attrHigh, formAddress, 0, 0},
			children:      repeat(100_000, asm.Join([]byte{2}, little(1), little(1000)))}.trapping},
	{Name: "debug-attributes", What: "a trap, and 100,000 entries of 100,000 attributes", Outcome: trapped,
		Module: debugInfo{file: "file.c", lines: oneLine,
			abbreviations: asm.Join([]byte{2, tagInlinedSubroutine, 0}, repeat(100_000, []byte{0x3f, formPresent}), []byte{0, 0}),
			children:      repeat(100_000, []byte{2})}.trapping},
	{Name: "debug-file-name", What: "a trap in a file with a name of 4 MB", Outcome: trapped,
		Module: func() []byte { return debugInfo{file: strings.Repeat("f", 4e6), lines: oneLine}.trapping() }},
	{Name: "debug-garbage", What: "a trap, and debug information that is none", Outcome: trapped,
		Module: func() []byte {
			garbage := repeat(1<<20, []byte{0xff, 0x01, 0x7f})
			return asm.Join(running(asm.Op(asm.Unreachable)),
				asm.Custom(".debug_abbrev", garbage[:1<<16]), asm.Custom(".debug_info", garbage), asm.Custom(".debug_line", garbage))
		}},
	{Name: "debug-huge", What: "a trap, and 64 MiB of debug information", Zeros: 64 << 20, Outcome: trapped,
		Module: func() []byte {
			return append(running(asm.Op(asm.Unreachable)), asm.Join([]byte{0}, asm.U(12+64<<20), asm.Bytes(".debug_info"))...)
		}},
}
