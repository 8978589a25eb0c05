package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// recognise says what is wrong with a file that is no core module. The
// preamble is in the core specification, 5.5.16; a component's is in the
// component model's Binary.md, "Component Definitions": the same magic number,
// then a version of 16 bits and a layer of 16 bits, 1 for components.
func recognise(file []byte) error {
	const preamble = 8
	switch {
	case len(file) == 0:
		return errors.New("is an empty file")
	case !bytes.HasPrefix(file, []byte("\x00asm")):
		return fmt.Errorf("is not a WebAssembly module: it %s", appearance(file))
	case len(file) < preamble:
		return fmt.Errorf("is cut off after %d bytes", len(file))
	}
	version, layer := binary.LittleEndian.Uint16(file[4:]), binary.LittleEndian.Uint16(file[6:])
	switch {
	case layer == 1:
		return errors.New("is a WebAssembly component; this runtime runs core modules: " +
			"build it for WASI preview 1 (wasm32-wasip1)")
	case version != 1 || layer != 0:
		return fmt.Errorf("has version %d of the WebAssembly binary format; this runtime knows version 1",
			binary.LittleEndian.Uint32(file[4:]))
	}
	return nil
}

// appearance says what a file looks like that is not Wasm.
func appearance(file []byte) string {
	for _, known := range []struct{ magic, name string }{
		{"\x7fELF", "looks like a Linux program (ELF)"},
		{"MZ", "looks like a Windows program"},
		{"\xcf\xfa\xed\xfe", "looks like a macOS program (Mach-O)"},
		{"!<arch>\n", "looks like a static library (ar)"},
		{"\x1f\x8b", "looks like a gzip archive"},
		{"\x28\xb5\x2f\xfd", "looks like a zstd archive"},
		{"PK\x03\x04", "looks like a zip archive"},
		{"(module", "looks like WebAssembly in text form: translate it with wat2wasm"},
		{"(component", "looks like a component in text form"},
		{"#!", "looks like a script"},
	} {
		if bytes.HasPrefix(file, []byte(known.magic)) {
			return known.name
		}
	}
	start := file[:min(len(file), 512)]
	// A cut may fall into a character.
	for i := 0; i < utf8.UTFMax && len(start) > 0 && !utf8.Valid(start); i++ {
		start = start[:len(start)-1]
	}
	if len(start) > 0 && utf8.Valid(start) && bytes.IndexByte(start, 0) < 0 {
		return "looks like a text"
	}
	return fmt.Sprintf("starts with the bytes % x", file[:min(len(file), 4)])
}
