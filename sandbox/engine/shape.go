package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// shape is what a module says about itself before its code: enough to name in
// plain words what this runtime cannot do with it. wazero decodes and
// validates the module; of what wazero says, too little could be told apart.
type shape struct {
	imports  []importName
	memories []limits
	hasStart bool
	// hasGC says that a type is one of the garbage collection proposal.
	hasGC bool
	// code is the code section's content.
	code []byte
	// features are the proposals that the toolchain says the module uses: the
	// target_features section of the tool conventions ("Linking.md").
	features []string
}

type importName struct {
	module, name string
	kind         byte
	shared       bool // of a memory
}

// limits of a memory in pages of 64 KiB.
type limits struct {
	flags byte
	min   uint64
}

// Flags of limits: of the core specification (5.3.12) and of the proposals
// threads, memory64 and custom-page-sizes.
const (
	limitsMax    = 1 << 0
	limitsShared = 1 << 1
	limits64     = 1 << 2
	limitsPage   = 1 << 3
)

// The kinds of imports (5.4.1, and tags of exception handling).
const (
	kindFunc = iota
	kindTable
	kindMemory
	kindGlobal
	kindTag
)

var errMalformed = errors.New("malformed")

// scan reads a module's shape. It stops without an error where the module is
// malformed, which wazero finds too and explains better.
func scan(file []byte) *shape {
	s := &shape{}
	for id, section := range sections(file) {
		switch id {
		case 0:
			if name := string(section.bytes()); name == "target_features" {
				s.readFeatures(section)
			}
		case 1:
			s.readTypes(section)
		case 2:
			s.readImports(section)
		case 5:
			for n := section.number(); n > 0 && section.err == nil; n-- {
				s.memories = append(s.memories, section.limits())
			}
		case 8:
			s.hasStart = true
		case 10:
			s.code = section.rest
		}
	}
	return s
}

// sections yields the sections of a file that has a preamble, by their ids. It
// ends where the file is malformed; the last one may then have no content.
func sections(file []byte) iter.Seq2[byte, *reader] {
	return func(yield func(byte, *reader) bool) {
		r := &reader{rest: file[8:]}
		for len(r.rest) > 0 && r.err == nil {
			if id := r.byte(); !yield(id, &reader{rest: r.bytes()}) {
				return
			}
		}
	}
}

// readTypes looks at the first type only: a module of the garbage collection
// proposal that begins with plain functions is found by its instructions.
func (s *shape) readTypes(r *reader) {
	r.number()
	form := r.byte()
	if form == 0x4e { // a recursion group; wazero knows those of functions
		r.number()
		form = r.byte()
	}
	s.hasGC = r.err == nil && (form == 0x50 || form == 0x4f || form == 0x5e || form == 0x5f)
}

func (s *shape) readImports(r *reader) {
	for n := r.number(); n > 0 && r.err == nil; n-- {
		imp := importName{module: string(r.bytes()), name: string(r.bytes()), kind: r.byte()}
		switch imp.kind {
		case kindFunc:
			r.number()
		case kindTable:
			r.valueType()
			r.limits()
		case kindMemory:
			memory := r.limits()
			imp.shared = memory.flags&limitsShared != 0
			s.memories = append(s.memories, memory)
		case kindGlobal:
			r.valueType()
			r.byte()
		case kindTag:
			r.byte()
			r.number()
		default:
			r.err = errMalformed
		}
		if r.err == nil {
			s.imports = append(s.imports, imp)
		}
	}
}

func (s *shape) readFeatures(r *reader) {
	for n := r.number(); n > 0 && r.err == nil; n-- {
		prefix := r.byte()
		name := string(r.bytes())
		if prefix == '+' && r.err == nil {
			s.features = append(s.features, name)
		}
	}
}

// supported names the proposal that a module's shape needs and wazero lacks.
func (s *shape) supported() error {
	for _, m := range s.memories {
		switch {
		case m.flags&limits64 != 0:
			return unsupported("memory64", "build it for wasm32")
		case m.flags&limitsPage != 0:
			return unsupported("custom page sizes", "")
		}
	}
	switch {
	case len(s.memories) > 1:
		return unsupported("multi-memory", "")
	case s.hasGC:
		return unsupported("garbage collection", "")
	}
	return nil
}

func unsupported(proposal, remedy string) error {
	if remedy != "" {
		remedy = ": " + remedy
	}
	return fmt.Errorf("uses the WebAssembly proposal %q, which this runtime does not support%s", proposal, remedy)
}

// usesRelaxedSIMD guesses, for a module that wazero has refused, whether that
// was for an instruction of relaxed SIMD: prefix fd, then 0x100 to 0x113 as
// LEB128. The bytes may mean something else elsewhere, so it is no proof.
func (s *shape) usesRelaxedSIMD() bool {
	for code := s.code; ; {
		i := bytes.IndexByte(code, 0xfd)
		if i < 0 || len(code) < i+3 {
			return false
		}
		if code[i+1] >= 0x80 && code[i+1] <= 0x93 && code[i+2] == 2 {
			return true
		}
		code = code[i+1:]
	}
}

// reader reads the binary format; after an error it returns zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.err = errMalformed
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// number reads an unsigned LEB128 number.
func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.rest, r.err = nil, errMalformed
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// bytes reads a vector of bytes.
func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.rest, r.err = nil, errMalformed
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// take reads n bytes.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.rest, r.err = nil, errMalformed
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// valueType skips a value type: one byte, or a reference to a heap type.
func (r *reader) valueType() {
	if form := r.byte(); form == 0x63 || form == 0x64 {
		r.number() // negative for abstract types, but as long
	}
}

func (r *reader) limits() limits {
	l := limits{flags: r.byte()}
	l.min = r.number()
	if l.flags&limitsMax != 0 {
		r.number()
	}
	if l.flags&limitsPage != 0 {
		r.number()
	}
	return l
}
