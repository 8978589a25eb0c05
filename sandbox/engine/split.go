package engine

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// parts are what a module falls into for its artifact. The stub is a module of
// the same types, imports, exports, tables, globals and function names, whose
// functions have no code and whose memory starts empty: what is left of the
// work of decoding and validating. The rest is kept beside it in forms that can
// be mapped.
type parts struct {
	stub []byte
	// image is what the module's data segments leave in its memory, by pages.
	// Segments that are not in it are in the stub as they were.
	image []extent
	// debug has the DWARF sections, by their names.
	debug map[string][]byte
}

// extent is a piece of the memory's first content; it begins at a page.
type extent struct {
	at    uint64 // in the memory
	bytes []byte
	// offset is where an artifact's file has the bytes.
	offset int64
}

// Binary ids of the sections that a stub does not have as they were (core
// specification, 5.5.2).
const (
	customSection = 0
	memorySection = 5
	codeSection   = 10
	dataSection   = 11
)

// split takes a module apart that wazero has validated. page is the size, in
// bytes, to which extents are aligned.
func split(module []byte, page uint64) parts {
	p := parts{stub: slices.Clone(module[:8]), debug: map[string][]byte{}}
	r := &reader{rest: module[8:]}
	var memory uint64
	for len(r.rest) > 0 && r.err == nil {
		id := r.byte()
		content := r.bytes()
		switch id {
		case customSection:
			section := &reader{rest: content}
			name := string(section.bytes())
			if strings.HasPrefix(name, ".debug_") {
				p.debug[name] = section.rest
			}
			if name != "name" {
				continue
			}
		case memorySection:
			section := &reader{rest: content}
			if section.number() == 1 {
				memory = section.limits().min * pageSize
			}
		case codeSection:
			content = withoutBodies(content)
		case dataSection:
			content, p.image = withoutData(content, memory, page)
		}
		p.stub = append(p.stub, id)
		p.stub = binary.AppendUvarint(p.stub, uint64(len(content)))
		p.stub = append(p.stub, content...)
	}
	return p
}

// withoutBodies returns a code section with as many functions, each without
// locals and of the one instruction that is valid for any type: unreachable.
func withoutBodies(code []byte) []byte {
	n := (&reader{rest: code}).number()
	return append(binary.AppendUvarint(nil, n), slices.Repeat([]byte{3, 0, 0x00, 0x0b}, int(n))...)
}

// segment is a data segment whose place in the memory the module says itself.
type segment struct {
	at    uint64
	bytes []byte
}

// withoutData returns a data section in which the segments that the image has
// are empty: their number stays, because instructions name segments by it. A
// segment goes into the image where its offset is a constant within the memory's
// first size and no segment before it could write to the same place later.
//
// Where the segments lie so far apart that an image would be much larger than
// they are, there is none.
func withoutData(section []byte, memory, page uint64) (stub []byte, image []extent) {
	r := &reader{rest: section}
	n := r.number()
	stub = binary.AppendUvarint(nil, n)
	var segments []segment
	plain := true
	for ; n > 0 && r.err == nil; n-- {
		before := r.rest
		at, bytes, kind := r.segment()
		plain = plain && (kind == segmentPassive || kind == segmentPlain && at+uint64(len(bytes)) <= memory)
		if plain && kind == segmentPlain {
			segments = append(segments, segment{at, bytes})
			stub = append(stub, 0, 0x41, 0, 0x0b, 0) // at (i32.const 0), nothing
			continue
		}
		stub = append(stub, before[:len(before)-len(r.rest)]...)
	}
	image, ok := imageOf(segments, page)
	if r.err != nil || !ok {
		return section, nil
	}
	return stub, image
}

// Kinds of data segments.
const (
	segmentPassive = iota // copied by instructions alone
	segmentPlain          // at a constant place in the first memory
	segmentOther
)

// segment reads a data segment (5.5.14).
func (r *reader) segment() (at uint64, bytes []byte, kind int) {
	kind = segmentPlain
	switch r.number() {
	case 0:
	case 1:
		return 0, r.bytes(), segmentPassive
	default:
		r.number() // which memory
		kind = segmentOther
	}
	at, constant := r.offset()
	if !constant {
		kind = segmentOther
	}
	return at, r.bytes(), kind
}

// offset reads a constant expression of type i32 (3.4.13 and the proposal
// extended-const). It returns false where that is not one constant alone.
func (r *reader) offset() (at uint64, constant bool) {
	for first := true; r.err == nil; first = false {
		switch r.byte() {
		case 0x41: // i32.const
			n, size := signed(r.rest)
			if size == 0 {
				break
			}
			r.rest = r.rest[size:]
			at, constant = uint64(uint32(n)), first
			continue
		case 0x23: // global.get
			r.number()
			constant = false
			continue
		case 0x6a, 0x6b, 0x6c: // i32.add, i32.sub, i32.mul
			constant = false
			continue
		case 0x0b: // end
			return at, constant
		}
		r.err = errMalformed
	}
	return 0, false
}

// signed decodes a signed LEB128 number; size 0 says that there is none.
func signed(p []byte) (n int64, size int) {
	for shift := 0; size < len(p) && shift < 64; shift += 7 {
		b := p[size]
		size++
		n |= int64(b&0x7f) << shift
		if b < 0x80 {
			if b&0x40 != 0 {
				n |= -1 << (shift + 7)
			}
			return n, size
		}
	}
	return 0, 0
}

// imageOf puts segments into pages. It returns false where that takes too many
// pieces or too much room.
func imageOf(segments []segment, page uint64) (image []extent, ok bool) {
	const (
		gap       = 64 << 10 // pieces closer than this are one
		maxPieces = 256
	)
	type span struct{ from, to uint64 }
	var spans []span
	room := uint64(1 << 20)
	for _, s := range segments {
		room += 4 * uint64(len(s.bytes))
		if len(s.bytes) > 0 {
			spans = append(spans, span{s.at &^ (page - 1), (s.at + uint64(len(s.bytes)) + page - 1) &^ (page - 1)})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var merged []span
	for _, s := range spans {
		if last := len(merged) - 1; last >= 0 && s.from <= merged[last].to+gap {
			merged[last].to = max(merged[last].to, s.to)
		} else {
			merged = append(merged, s)
		}
	}
	for _, s := range merged {
		room -= min(room, s.to-s.from)
	}
	if len(merged) > maxPieces || room == 0 {
		return nil, false
	}
	for _, s := range merged {
		image = append(image, extent{at: s.from, bytes: make([]byte, s.to-s.from)})
	}
	for _, s := range segments {
		if len(s.bytes) == 0 {
			continue
		}
		i, found := slices.BinarySearchFunc(image, s.at, func(e extent, at uint64) int { return cmp.Compare(e.at, at) })
		if !found {
			i-- // the piece that begins before it
		}
		copy(image[i].bytes[s.at-image[i].at:], s.bytes)
	}
	return image, true
}
