// Package asm writes small WebAssembly modules byte by byte, for what no
// compiler makes: modules that are wrong in one particular way. It knows the
// binary format (core specification, chapter 5) just far enough for that and
// checks nothing.
package asm

import "encoding/binary"

// Section ids (core specification, 5.5.2).
const (
	TypeSection     = 1
	ImportSection   = 2
	FunctionSection = 3
	TableSection    = 4
	MemorySection   = 5
	ExportSection   = 7
	StartSection    = 8
	ElementSection  = 9
	CodeSection     = 10
	DataSection     = 11
)

// Value types and kinds of imports and exports.
const (
	I32 = 0x7f
	I64 = 0x7e

	Func   = 0
	Table  = 1
	Memory = 2
	Global = 3

	// Void is the type of a block without a result.
	Void = 0x40
)

// Opcodes.
const (
	Unreachable = 0x00
	Loop        = 0x03
	End         = 0x0b
	BrIf        = 0x0d
	Call        = 0x10
	ReturnCall  = 0x12
	Drop        = 0x1a
	LocalGet    = 0x20
	LocalTee    = 0x22
	I32Store    = 0x36
	MemoryGrow  = 0x40
	I32Const    = 0x41
	I64Const    = 0x42
	I32Ne       = 0x47
	I32LtU      = 0x49
	I32Add      = 0x6a
)

// U is an unsigned number.
func U(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// S is a signed number.
func S(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// Join puts parts after one another.
func Join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Vec is a vector: its length, then its items.
func Vec(items ...[]byte) []byte { return append(U(uint64(len(items))), Join(items...)...) }

// Bytes is a vector of bytes: a name, a data segment's content.
func Bytes(s string) []byte { return append(U(uint64(len(s))), s...) }

// Module is the preamble and the sections.
func Module(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x01\x00\x00\x00"), Join(sections...)...)
}

// Section is one section whose content is a vector of items.
func Section(id byte, items ...[]byte) []byte { return Raw(id, Vec(items...)) }

// Raw is one section with the content as it is.
func Raw(id byte, content []byte) []byte {
	return append(append([]byte{id}, U(uint64(len(content)))...), content...)
}

// Custom is a custom section.
func Custom(name string, content []byte) []byte { return Raw(0, Join(Bytes(name), content)) }

// FuncType is a function's type.
func FuncType(params, results string) []byte {
	return Join([]byte{0x60}, Bytes(params), Bytes(results))
}

// Import is one import; desc is what its kind wants: a type index, limits.
func Import(module, name string, kind byte, desc ...byte) []byte {
	return Join(Bytes(module), Bytes(name), []byte{kind}, desc)
}

// Export is one export.
func Export(name string, kind byte, index uint64) []byte {
	return Join(Bytes(name), []byte{kind}, U(index))
}

// Code is the body of a function with so many locals, all of them i32; the
// final end is added.
func Code(locals uint64, instructions ...[]byte) []byte {
	declared := []byte{0}
	if locals > 0 {
		declared = Join([]byte{1}, U(locals), []byte{I32})
	}
	body := Join(declared, Join(instructions...), []byte{End})
	return append(U(uint64(len(body))), body...)
}

// Data is an active segment of memory 0.
func Data(offset int64, content string) []byte {
	return Join([]byte{0, I32Const}, S(offset), []byte{End}, Bytes(content))
}

// Const pushes an i32.
func Const(n int64) []byte { return append([]byte{I32Const}, S(n)...) }

// Op is an instruction with what follows it.
func Op(code byte, immediate ...byte) []byte { return append([]byte{code}, immediate...) }
