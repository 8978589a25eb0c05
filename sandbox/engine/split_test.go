package engine

import (
	"bytes"
	"slices"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

// passive is a data segment that only instructions copy.
func passive(content string) []byte { return asm.Join([]byte{1}, asm.Bytes(content)) }

// computed is a segment at the sum of two constants.
func computed(a, b int64, content string) []byte {
	return asm.Join([]byte{0}, asm.Const(a), asm.Const(b), asm.Op(asm.I32Add), []byte{asm.End}, asm.Bytes(content))
}

// Whatever part of the segments is in the image, the memory begins as the module
// says: the guest prints it.
func TestFirstMemory(t *testing.T) {
	const memory = 4 * pageSize
	// print writes size bytes from at on, with the iovec at 60000.
	print := func(at, size int64) []byte {
		store := func(to, value int64) []byte {
			return asm.Join(asm.Const(to), asm.Const(value), asm.Op(asm.I32Store, 2, 0))
		}
		return asm.Join(store(60000, at), store(60004, size),
			asm.Const(1), asm.Const(60000), asm.Const(1), asm.Const(60008), asm.Op(asm.Call, fnWrite), asm.Op(asm.Drop))
	}
	for _, c := range []struct {
		name     string
		segments [][]byte
		pieces   int // of the image
	}{
		{"none", nil, 0},
		{"one", [][]byte{asm.Data(5, "hello")}, 1},
		{"overlapping", [][]byte{asm.Data(0, "aaaaaaaa"), asm.Data(4, "bbbb"), asm.Data(2, "c")}, 1},
		{"over a page's end", [][]byte{asm.Data(4094, "abcd")}, 1},
		{"near one another", [][]byte{asm.Data(9000, "b"), asm.Data(10, "a")}, 1},
		{"far apart", [][]byte{asm.Data(3*pageSize, "b"), asm.Data(10, "a")}, 2},
		{"at the end", [][]byte{asm.Data(memory-1, "z")}, 1},
		{"of no length at the end", [][]byte{asm.Data(memory, ""), asm.Data(1, "a")}, 1},
		{"passive between", [][]byte{asm.Data(0, "a"), passive("p"), asm.Data(1, "b")}, 1},
		{"computed first", [][]byte{computed(1, 2, "xyz"), asm.Data(4, "b")}, 0},
		{"computed last", [][]byte{asm.Data(4, "b"), computed(1, 2, "xyz")}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := asm.Section(asm.DataSection, c.segments...)
			module := guest(noStart, data, function{"_start", typeVoid,
				asm.Code(0, print(0, 10000), print(3*pageSize, pageSize))})
			// Room for the segments, in place of guest's one page.
			one := asm.Section(asm.MemorySection, []byte{0, 1})
			module = bytes.Replace(module, one, asm.Section(asm.MemorySection, []byte{0, memory / pageSize}), 1)
			got := sandbox{module: module}.run(t)
			if len(got.stdout) != 10000+pageSize {
				t.Errorf("the guest printed %d bytes and %q", len(got.stdout), got.stderr)
			}
			if p := split(module, 4096); len(p.image) != c.pieces {
				t.Errorf("the image has %d pieces, want %d", len(p.image), c.pieces)
			}
		})
	}
}

// A segment outside of the memory is the same error with and without an artifact.
func TestSegmentOutOfBounds(t *testing.T) {
	data := asm.Section(asm.DataSection, asm.Data(0, "a"), asm.Data(pageSize-1, "too long"))
	got := sandbox{module: guest(noStart, data, function{"_start", typeVoid, asm.Code(0)})}.run(t)
	got.expect(t, result{stderr: "module /guest.wasm cannot be instantiated: data[1]: out of bounds memory access\n", code: 125})
}

// An image is never much larger than what it is made of.
func TestScatteredSegmentsMakeNoImage(t *testing.T) {
	var segments []segment
	for i := range uint64(1000) {
		segments = append(segments, segment{i * 1 << 20, []byte{1}})
	}
	if image, ok := imageOf(segments, 4096); ok {
		t.Errorf("an image of %d pieces", len(image))
	}
	close := slices.Clone(segments)
	for i := range close {
		close[i].at = uint64(i) * (64 << 10)
	}
	if image, ok := imageOf(close, 4096); ok {
		t.Errorf("an image of %d bytes for %d", len(image[0].bytes), len(close))
	}
}
