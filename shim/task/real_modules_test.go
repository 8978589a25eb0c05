package task

import (
	"encoding/binary"
	"strings"
)

// The guests, put together by hand.
var (
	// (module
	//   (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
	//   (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
	//   (memory (export "memory") 1)
	//   (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
	//   (func (export "_start")
	//     i32.const 1  i32.const 0  i32.const 1  i32.const 32  call 0  drop
	//     i32.const 3  call 1))
	hello = module(
		section(1, "\x03\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x01\x7f\x00\x60\x00\x00"),
		section(2, "\x02"+name("wasi_snapshot_preview1")+name("fd_write")+"\x00\x00"+name("wasi_snapshot_preview1")+name("proc_exit")+"\x00\x01"),
		section(3, "\x01\x02"),
		section(5, "\x01\x00\x01"),
		section(7, "\x02"+name("memory")+"\x02\x00"+name("_start")+"\x00\x02"),
		section(10, "\x01"+name("\x00\x41\x01\x41\x00\x41\x01\x41\x20\x10\x00\x1a\x41\x03\x10\x01\x0b")),
		section(11, "\x01\x00\x41\x00\x0b"+name("\x08\x00\x00\x00\x06\x00\x00\x00hello\n")),
	)
	// Copies its standard input to its standard output, 4 KiB at a time.
	// (module
	//   (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
	//   (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
	//   (memory (export "memory") 1)
	//   (data (i32.const 0) "\40\00\00\00\00\10\00\00")
	//   (data (i32.const 16) "\40")
	//   (func (export "_start")
	//     (block (loop
	//       i32.const 0  i32.const 0  i32.const 1  i32.const 32  call 0  drop
	//       i32.const 32  i32.load  i32.eqz  br_if 1
	//       i32.const 20  i32.const 32  i32.load  i32.store
	//       i32.const 1  i32.const 16  i32.const 1  i32.const 40  call 1  drop
	//       br 0))))
	copies = module(
		section(1, "\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x00\x00"),
		section(2, "\x02"+name("wasi_snapshot_preview1")+name("fd_read")+"\x00\x00"+name("wasi_snapshot_preview1")+name("fd_write")+"\x00\x00"),
		section(3, "\x01\x01"),
		section(5, "\x01\x00\x01"),
		section(7, "\x02"+name("memory")+"\x02\x00"+name("_start")+"\x00\x02"),
		section(10, "\x01"+name("\x00\x02\x40\x03\x40"+
			"\x41\x00\x41\x00\x41\x01\x41\x20\x10\x00\x1a"+
			"\x41\x20\x28\x02\x00\x45\x0d\x01"+
			"\x41\x14\x41\x20\x28\x02\x00\x36\x02\x00"+
			"\x41\x01\x41\x10\x41\x01\x41\x28\x10\x01\x1a"+
			"\x0c\x00\x0b\x0b\x0b")),
		section(11, "\x02\x00\x41\x00\x0b"+name("\x40\x00\x00\x00\x00\x10\x00\x00")+"\x00\x41\x10\x0b"+name("\x40")),
	)
	// (module (func (export "_start") (loop (br 0))))
	spins = module(
		section(1, "\x01\x60\x00\x00"),
		section(3, "\x01\x00"),
		section(7, "\x01"+name("_start")+"\x00\x00"),
		section(10, "\x01"+name("\x00\x03\x40\x0c\x00\x0b\x0b")),
	)
)

func module(sections ...string) []byte {
	return []byte("\x00asm\x01\x00\x00\x00" + strings.Join(sections, ""))
}

func section(id byte, content string) string { return string([]byte{id}) + name(content) }

// name is content with its length before it.
func name(content string) string {
	return string(binary.AppendUvarint(nil, uint64(len(content)))) + content
}
