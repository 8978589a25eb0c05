package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

// Whoever wants to know what hostile modules come to finds them in the
// end-to-end tests. Here is what bounds must not do: refuse others.
func TestBoundsLetGuestsPass(t *testing.T) {
	guests, err := filepath.Glob(filepath.Join("..", "..", ".engines", "guests", "*.wasm"))
	if err != nil || len(guests) < 8 {
		t.Fatalf("%d guests, %v: run `make guests`", len(guests), err)
	}
	refused := []string{"component.wasm", "empty.wasm", "not-wasm.wasm"}
	for _, path := range guests {
		module, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = admit(module)
		isRefused := strings.Contains(strings.Join(refused, " "), filepath.Base(path))
		if (err != nil) != isRefused {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}

// The most of everything that can be written down in a test.
func TestBoundsAreInclusive(t *testing.T) {
	most := asm.Module(
		asm.Section(asm.TypeSection, asm.FuncType("", ""), asm.FuncType(strings.Repeat("\x7f", maxParameters), strings.Repeat("\x7f", maxResults))),
		asm.Section(asm.FunctionSection, asm.U(0)),
		asm.Section(asm.TableSection, asm.Join([]byte{0x70, 0}, asm.U(maxTableSize))),
		asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 0)),
		asm.Section(asm.CodeSection, asm.Code(maxLocals)))
	if err := bounded(most); err != nil {
		t.Error(err)
	}
}

// A module that breaks off anywhere is refused with a reason, unless it breaks
// off between two sections.
func TestBoundsFindCutModules(t *testing.T) {
	data, print := texts("hello\n")
	whole := asm.Join(guest(0, data, function{"_start", typeVoid, asm.Code(0, print(0))}), asm.Custom("name", []byte{1, 1, 0}))
	between := map[int]bool{}
	r := &reader{rest: whole[8:]}
	for between[8] = true; len(r.rest) > 0; between[len(whole)-len(r.rest)] = true {
		r.byte()
		r.bytes()
	}
	for n := 8; n <= len(whole); n++ {
		if err := bounded(whole[:n]); (err == nil) != between[n] {
			t.Errorf("after %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// Once admitted, a module is so for ever, as it is.
func FuzzAdmit(f *testing.F) {
	data, print := texts("x")
	f.Add(guest(0, data, function{"_start", typeVoid, asm.Code(3, print(0))}))
	f.Add(asm.Join(exporting("_start"), asm.Custom("name", asm.Raw(1, asm.Vec(asm.Join(asm.U(0), asm.Bytes("f\n")))))))
	f.Add(asm.Module(
		asm.Section(asm.TypeSection, asm.Join([]byte{0x4e}, asm.Vec(asm.FuncType("\x63\x00\x7f", "\x7b")))),
		asm.Section(asm.TableSection, []byte{0x40, 0, 0x70, 1, 1, 2, 0xd0, 0x70, asm.End}),
		asm.Section(asm.ElementSection,
			asm.Join([]byte{6, 0}, asm.Const(-1), []byte{asm.End, 0x70}, asm.Vec([]byte{0xd2, 0, asm.End})),
			asm.Join([]byte{1, 0}, asm.Vec(asm.U(0)))),
		asm.Section(asm.DataSection, asm.Join([]byte{1}, asm.Bytes("x")))))
	f.Fuzz(func(t *testing.T, module []byte) {
		once, err := admit(module)
		if err != nil {
			return
		}
		if twice, err := admit(once); err != nil || string(twice) != string(once) {
			t.Errorf("error %v\nonce  %q\ntwice %q", err, once, twice)
		}
	})
}

func TestTrimKeepsWhatStacksNeed(t *testing.T) {
	names := asm.Custom("name", asm.Join(
		asm.Raw(0, asm.Bytes("module")),
		asm.Raw(1, asm.Vec(asm.Join(asm.U(0), asm.Bytes("f\n")), asm.Join(asm.U(1), asm.Bytes("x"+strings.Repeat("é", maxFunctionName))))),
		asm.Raw(2, asm.U(0xffffffff))))
	short := "x" + strings.Repeat("é", maxFunctionName/2-1) + "… (1026 bytes more)"
	features := asm.Custom("target_features", asm.Vec())
	core := exporting("_start")
	trimmed := trim(asm.Join(core[:8], asm.Custom("junk", []byte("junk")), core[8:], names, names, features, asm.Custom("empty", nil)))
	want := asm.Join(core, asm.Custom("name", asm.Raw(1, asm.Vec(asm.Join(asm.U(0), asm.Bytes(`f\n`)), asm.Join(asm.U(1), asm.Bytes(short))))), features)
	if string(trimmed) != string(want) {
		t.Errorf("got  %q\nwant %q", trimmed, want)
	}
	for _, malformed := range []string{"\x01\x01\xff", "\x01\x07\x02\x01\x01a\x00\x01b", "\x01\x80"} {
		if names := functionNames([]byte(malformed)); names != nil {
			t.Errorf("of %q, the names are %q", malformed, names)
		}
	}
}

// Source lines are kept for programs as compilers make them.
func TestTrimKeepsSourceLines(t *testing.T) {
	for _, name := range []string{"trap", "hello-rust"} {
		module, err := os.ReadFile(filepath.Join("..", "..", ".engines", "guests", name+".wasm"))
		if err != nil {
			t.Fatalf("%v: run `make guests`", err)
		}
		if debug := split(trim(module), 4096).debug; len(debug[".debug_line"]) == 0 {
			t.Errorf("%s has none left", name)
		}
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"Grüße, 世界 \\ \"":          "Grüße, 世界 \\ \"",
		"\x1b[31mred\x07":          `\x1b[31mred\a`,
		"line\r\nline\u2028\u202e": `line\r\nline\u2028\u202e`,
		"\xff\xfe\xed\xa0\x80":     `\xff\xfe\xed\xa0\x80`,
		strings.Repeat("x", 101):   strings.Repeat("x", 100) + "… (1 bytes more)",
		strings.Repeat("\n", 100):  strings.Repeat(`\n`, 50) + "… (50 bytes more)",
	} {
		if got := plain(text, 100); got != want {
			t.Errorf("of %q: got %q, want %q", text, got, want)
		}
	}
}
