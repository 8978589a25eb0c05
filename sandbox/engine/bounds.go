package engine

import (
	"errors"
	"fmt"
	"strings"
)

// The limits of the WebAssembly JavaScript Interface ("Implementation-defined
// Limits"), which every browser keeps to: no toolchain makes more. wazero makes
// room for as many as a module says it has before it looks for them, and takes
// time that grows faster than a function does.
const (
	maxTypes        = 1_000_000
	maxImports      = 1_000_000
	maxFunctions    = 1_000_000
	maxGlobals      = 1_000_000
	maxTags         = 1_000_000
	maxExports      = 1_000_000
	maxTables       = 100_000
	maxDataSegments = 100_000
	maxTableSize    = 10_000_000 // here of all tables together
	maxElements     = 10_000_000 // of segments, and of one segment
	maxParameters   = 1000
	maxResults      = 1000
	maxLocals       = 50_000
	maxFunctionSize = 7_654_321 // bytes
)

// maxLookups bounds functions times exports: before any entry function is
// called, wazero compares each of the ones with each of the others, which takes
// a nanosecond.
const maxLookups = 1 << 31

// bounded says whether a module keeps to the limits and has what it claims to
// have. It reads every number that wazero makes room by, at least as strictly
// as wazero does, so its error is also for what it cannot read. The file has a
// preamble.
func bounded(file []byte) error {
	r := &bounds{reader: reader{rest: file[8:]}, where: "the module"}
	var functions, exports uint64
	for len(r.rest) > 0 && r.err == nil {
		id := r.byte()
		r.where = sectionName(id)
		content := r.content("bytes")
		section := &bounds{reader: reader{rest: content}, where: r.where, err: r.failure()}
		switch id {
		case 0:
			section.content("bytes of a name")
		case 1:
			section.types()
		case 2:
			functions += section.each("imports", maxImports, section.imported)
		case 3:
			functions += section.vector("functions", maxFunctions)
		case 4:
			section.each("tables", maxTables, func() { section.table(true) })
		case 6:
			section.vector("globals", maxGlobals)
		case 7:
			exports += section.each("exports", maxExports, section.export)
		case 9:
			section.each("element segments", maxElements, section.elements)
		case 10:
			section.each("functions", maxFunctions, section.function)
		case 11:
			section.each("data segments", maxDataSegments, section.data)
		case 13:
			section.vector("tags", maxTags)
		}
		if r.err = section.failure(); r.err == errOtherType {
			return nil
		}
	}
	if r.failure() == nil && functions*exports > maxLookups {
		return fmt.Errorf("has %d functions and %d exports, which takes too long to look through; the product may be %d",
			functions, exports, maxLookups)
	}
	return r.failure()
}

// errOtherType is found where a type is not a function's. wazero stops there,
// too, and tells better why.
var errOtherType = errors.New("a type of another proposal")

// bounds reads a part of a module against the limits.
type bounds struct {
	reader
	where string // the part's name
	// err is the first error; the reader's own says no more than that there is one.
	err error
	// Of the tables, the elements; of the functions' bodies, the number.
	elementsOfTables, functions uint64
}

func (b *bounds) failure() error {
	if b.err == nil && b.reader.err != nil {
		b.err = fmt.Errorf("is not valid WebAssembly: %s is malformed or ends too soon", b.where)
	}
	return b.err
}

func (b *bounds) fail(format string, args ...any) {
	if b.failure() == nil {
		b.err = fmt.Errorf(format, args...)
	}
	b.rest = nil
}

// number reads an unsigned number of 32 bits, in as many bytes as one may have.
func (b *bounds) number() uint64 {
	before := len(b.rest)
	n := b.reader.number()
	if b.reader.err == nil && (n > 0xffff_ffff || before-len(b.rest) > 5) {
		b.fail("is not valid WebAssembly: %s has a number beyond 32 bits", b.where)
		return 0
	}
	return n
}

// claim reads how many of something follow, each of them at least one byte.
func (b *bounds) claim(what string) uint64 {
	n := b.number()
	if have := uint64(len(b.rest)); n > have && b.failure() == nil {
		b.fail("is not valid WebAssembly: %s claims %d %s where %s left", b.where, n, what, bytesAre(have))
		return 0
	}
	return n
}

func (b *bounds) vector(what string, most uint64) uint64 {
	n := b.claim(what)
	if n > most {
		b.fail("has %d %s; a module may have %d", n, what, most)
		return 0
	}
	return n
}

// each reads a vector of n things, which read reads one by one.
func (b *bounds) each(what string, most uint64, read func()) (n uint64) {
	n = b.vector(what, most)
	for left := n; left > 0 && b.failure() == nil; left-- {
		read()
	}
	return n
}

// content reads a vector of bytes.
func (b *bounds) content(what string) []byte { return b.take(int(b.claim(what))) }

func (b *bounds) types() {
	group := func() bool { return len(b.rest) > 0 && b.rest[0] == 0x4e }
	all := uint64(0)
	for n := b.vector("types", maxTypes); n > 0 && b.failure() == nil; n-- {
		types := uint64(1)
		if group() {
			b.byte()
			types = b.claim("types of a group")
		}
		if all += types; all > maxTypes {
			b.fail("has %d types; a module may have %d", all, maxTypes)
		}
		for ; types > 0 && b.failure() == nil; types-- {
			b.functionType()
		}
	}
}

func (b *bounds) functionType() {
	if form := b.byte(); form != 0x60 {
		if b.failure() == nil {
			b.err = errOtherType
		}
		return
	}
	for _, of := range []struct {
		what string
		most uint64
	}{{"parameters", maxParameters}, {"results", maxResults}} {
		n := b.claim(of.what)
		if n > of.most {
			b.fail("has a function type of %d %s; a function may have %d", n, of.what, of.most)
		}
		for ; n > 0 && b.failure() == nil; n-- {
			b.valueType()
		}
	}
}

func (b *bounds) imported() {
	b.content("bytes of a name")
	b.content("bytes of a name")
	switch b.byte() {
	case kindFunc:
		b.number()
	case kindTable:
		b.table(false)
	case kindMemory:
		b.limits()
	case kindGlobal:
		b.valueType()
		b.byte()
	case kindTag:
		b.byte()
		b.number()
	default:
		b.reader.err = errMalformed
	}
}

func (b *bounds) export() {
	b.content("bytes of a name")
	b.byte()
	b.number()
}

// table reads a table's type, and its first value where it may have one.
func (b *bounds) table(own bool) {
	hasValue := own && len(b.rest) > 0 && b.rest[0] == 0x40
	if hasValue {
		b.take(2)
	}
	b.valueType()
	size := b.limits().min
	if b.elementsOfTables += size; size > maxTableSize || b.elementsOfTables > maxTableSize {
		b.fail("has tables of %d elements; they may have %d", max(size, b.elementsOfTables), maxTableSize)
	}
	if hasValue {
		b.constant()
	}
}

// Bits of an element segment's flags (5.5.12).
const (
	elementInactive    = 1 << 0 // passive, or declarative
	elementNamed       = 1 << 1 // a table's number, or declarative
	elementExpressions = 1 << 2
)

func (b *bounds) elements() {
	flags := b.number()
	if flags&elementInactive == 0 {
		if flags&elementNamed != 0 {
			b.number()
		}
		b.constant()
	}
	expressions := flags&elementExpressions != 0
	switch {
	case flags&(elementInactive|elementNamed) == 0:
	case expressions:
		b.valueType()
	default:
		b.byte() // the kind
	}
	n := b.claim("elements of a segment")
	if n > maxElements {
		b.fail("has an element segment of %d elements; a segment may have %d", n, maxElements)
	}
	for ; n > 0 && b.failure() == nil; n-- {
		if expressions {
			b.constant()
		} else {
			b.number()
		}
	}
}

// function reads a body, of which the locals tell what room it takes.
func (b *bounds) function() {
	i := b.functions
	b.functions++
	body := &bounds{reader: reader{rest: b.content("bytes of a function")}, where: fmt.Sprintf("function body %d", i)}
	if size := len(body.rest); size > maxFunctionSize {
		b.fail("has a function of %d bytes; a function may have %d (function body %d)", size, maxFunctionSize, i)
	}
	locals := uint64(0)
	for n := body.claim("groups of locals"); n > 0 && body.failure() == nil; n-- {
		locals += body.number()
		body.valueType()
	}
	if locals > maxLocals {
		b.fail("has a function of %d locals; a function may have %d (function body %d)", locals, maxLocals, i)
	}
	if b.failure() == nil {
		b.err = body.failure()
	}
}

func (b *bounds) data() {
	switch b.number() {
	case 0:
		b.constant()
	case 2:
		b.number() // which memory
		b.constant()
	}
	b.content("bytes of a segment")
}

// constant reads a constant expression (3.4.13 and the proposal extended-const).
func (b *bounds) constant() {
	for b.failure() == nil {
		switch b.byte() {
		case 0x41, 0x42, 0x23, 0xd0, 0xd2: // i32.const, i64.const, global.get, ref.null, ref.func
			for b.byte() >= 0x80 {
			}
		case 0x43: // f32.const
			b.take(4)
		case 0x44: // f64.const
			b.take(8)
		case 0xfd: // v128.const
			b.byte()
			b.take(16)
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // add, sub and mul of i32 and i64
		case 0x0b: // end
			return
		default:
			b.fail("is not valid WebAssembly: %s has an instruction that is not constant where one must be", b.where)
		}
	}
}

func sectionName(id byte) string {
	names := strings.Fields("custom type import function table memory global export start element code data datacount tag")
	if int(id) < len(names) {
		return fmt.Sprintf("section %d (%s)", id, names[id])
	}
	return fmt.Sprintf("section %d", id)
}

func bytesAre(n uint64) string {
	if n == 1 {
		return "1 byte is"
	}
	return fmt.Sprintf("%d bytes are", n)
}
