package wasi

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/unix"
)

// guest is a module that has a memory and exports each function of WASI: a test
// calls them as a guest would, through the engine.
type guest struct {
	*testing.T
	host   *Host
	module api.Module
	memory api.Memory
	// root is the directory that it has as descriptor 3, in which all of it happens.
	root string
	// next is where the next text goes.
	next uint32
}

// Places in a guest's memory.
const (
	result  = 0   // of most calls
	result2 = 8   // of calls that have two
	vectors = 64  // an iovec_array
	buffer  = 512 // what is read or written
	texts   = 32 << 10
	outside = 0xfffffff0 // of the memory
)

// root is the descriptor of the preopened directory.
const root = 3

// each runs a test with a guest of the compiler and one of the interpreter.
func each(t *testing.T, test func(g *guest)) { eachOf(t, Preview1, test) }

func eachOf(t *testing.T, module string, test func(g *guest)) {
	for name, config := range map[string]wazero.RuntimeConfig{
		"compiler": wazero.NewRuntimeConfigCompiler(), "interpreter": wazero.NewRuntimeConfigInterpreter(),
	} {
		t.Run(name, func(t *testing.T) {
			test(newGuest(t, config, module, Config{Streams: streams(t)}))
		})
	}
}

// streams are three pipes' ends that nobody is at the other end of: what is read is
// at its end, what is written is an error.
func streams(t *testing.T) (fds [3]int) {
	t.Helper()
	for i := range fds {
		fds[i] = pipe(t)[min(i, 1)]
	}
	return fds
}

// pipe is one that both ends of are open until the test's end.
func pipe(t *testing.T) (ends [2]int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p
}

func newGuest(t *testing.T, config wazero.RuntimeConfig, module string, cfg Config) *guest {
	t.Helper()
	g := &guest{T: t, root: t.TempDir(), next: texts}
	if cfg.Preopens == nil {
		cfg.Preopens = []Preopen{{Path: g.root, Name: "/"}}
	}
	var err error
	if g.host, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for i := range g.host.table {
			if d := &g.host.table[i]; d.open && !slices.Contains(cfg.Streams[:], d.fd) {
				g.host.table.close(d)
			}
		}
	})
	r := wazero.NewRuntimeWithConfig(t.Context(), config)
	t.Cleanup(func() { r.Close(t.Context()) })
	var names []string
	for _, f := range functions {
		if Has(module, f.name) {
			names = append(names, f.name)
		}
	}
	if _, err := g.host.Instantiate(t.Context(), r, module, names); err != nil {
		t.Fatal(err)
	}
	if g.module, err = r.Instantiate(t.Context(), callsAll(module, names)); err != nil {
		t.Fatal(err)
	}
	g.memory = g.module.Memory()
	return g
}

// callsAll is a module with a function of each name that calls the import.
func callsAll(module string, names []string) []byte {
	var types, imports, functions, exports, bodies [][]byte
	for i, name := range names {
		params, code := "", [][]byte{}
		for n, p := range find(module, name).params {
			if p == 'I' {
				params += "\x7e"
			} else {
				params += "\x7f"
			}
			code = append(code, asm.Op(asm.LocalGet, byte(n)))
		}
		results := "\x7f"
		if name == "proc_exit" {
			results = ""
		}
		types = append(types, asm.FuncType(params, results))
		imports = append(imports, asm.Import(module, name, asm.Func, asm.U(uint64(i))...))
		functions = append(functions, asm.U(uint64(i)))
		exports = append(exports, asm.Export(name, asm.Func, uint64(len(names)+i)))
		bodies = append(bodies, asm.Code(0, append(code, asm.Op(asm.Call, asm.U(uint64(i))...))...))
	}
	exports = append(exports, asm.Export("memory", asm.Memory, 0))
	return asm.Module(
		asm.Section(asm.TypeSection, types...), asm.Section(asm.ImportSection, imports...),
		asm.Section(asm.FunctionSection, functions...), asm.Section(asm.MemorySection, []byte{0, 1}),
		asm.Section(asm.ExportSection, exports...), asm.Section(asm.CodeSection, bodies...))
}

// call calls a function of WASI and returns its errno.
func (g *guest) call(name string, args ...uint64) errno {
	g.Helper()
	results, err := g.module.ExportedFunction(name).Call(g.Context(), args...)
	if err != nil {
		g.Fatalf("%s: %v", name, err)
	}
	return errno(results[0])
}

// want calls a function and expects the errno.
func (g *guest) want(want errno, name string, args ...uint64) {
	g.Helper()
	if got := g.call(name, args...); got != want {
		g.Errorf("%s%d: errno %d, want %d", name, args, got, want)
	}
}

// text puts a text into the memory and returns where it is and its length.
func (g *guest) text(s string) (at, size uint64) {
	g.Helper()
	at, size = uint64(g.next), uint64(len(s))
	g.put(g.next, []byte(s))
	g.next += uint32(len(s))
	return at, size
}

func (g *guest) put(at uint32, b []byte) {
	g.Helper()
	if !g.memory.Write(at, b) {
		g.Fatalf("%d bytes at %d are out of the memory", len(b), at)
	}
}

func (g *guest) bytes(at, size uint32) []byte {
	g.Helper()
	b, ok := g.memory.Read(at, size)
	if !ok {
		g.Fatalf("%d bytes at %d are out of the memory", size, at)
	}
	return bytes.Clone(b)
}

func (g *guest) u16(at uint32) uint16 { return little.Uint16(g.bytes(at, 2)) }
func (g *guest) u32(at uint32) uint32 { return little.Uint32(g.bytes(at, 4)) }
func (g *guest) u64(at uint32) uint64 { return little.Uint64(g.bytes(at, 8)) }

// vector puts an iovec_array of pairs of a place and a length and returns it.
func (g *guest) vector(pairs ...uint32) (at, count uint64) {
	g.Helper()
	var b []byte
	for _, n := range pairs {
		b = little.AppendUint32(b, n)
	}
	g.put(vectors, b)
	return vectors, uint64(len(pairs) / 2)
}

// onPath calls a function whose parameters begin with a descriptor and a path.
func (g *guest) onPath(name string, fd uint64, path string, more ...uint64) errno {
	g.Helper()
	at, size := g.text(path)
	return g.call(name, append([]uint64{fd, at, size}, more...)...)
}

// opening is how path_open opens.
type opening struct {
	dir              uint64 // root where it is 0
	nofollow         bool
	oflags, fdflags  uint64
	base, inheriting rights // all where base is 0
}

func (g *guest) tryOpen(path string, o opening) errno {
	g.Helper()
	if o.dir == 0 {
		o.dir = root
	}
	if o.base == 0 {
		o.base, o.inheriting = allRights, allRights
	}
	follow := uint64(1)
	if o.nofollow {
		follow = 0
	}
	at, size := g.text(path)
	return g.call("path_open", o.dir, follow, at, size, o.oflags, uint64(o.base), uint64(o.inheriting), o.fdflags, result)
}

// open opens a path and returns the descriptor.
func (g *guest) open(path string, o opening) uint64 {
	g.Helper()
	if e := g.tryOpen(path, o); e != success {
		g.Fatalf("path_open %s: errno %d", path, e)
	}
	return uint64(g.u32(result))
}

// write writes a text to a descriptor.
func (g *guest) write(fd uint64, s string) errno {
	g.Helper()
	g.put(buffer, []byte(s))
	at, n := g.vector(buffer, uint32(len(s)))
	return g.call("fd_write", fd, at, n, result)
}

// read reads up to so many bytes.
func (g *guest) read(fd uint64, most uint32) string {
	g.Helper()
	at, n := g.vector(buffer, most)
	g.want(success, "fd_read", fd, at, n, result)
	return string(g.bytes(buffer, g.u32(result)))
}

// file makes a file in the root directory.
func (g *guest) file(name, content string) {
	g.Helper()
	if err := os.WriteFile(filepath.Join(g.root, name), []byte(content), 0o644); err != nil {
		g.Fatal(err)
	}
}

func (g *guest) dir(name string) {
	g.Helper()
	if err := os.Mkdir(filepath.Join(g.root, name), 0o755); err != nil {
		g.Fatal(err)
	}
}

func (g *guest) link(target, name string) {
	g.Helper()
	if err := os.Symlink(target, filepath.Join(g.root, name)); err != nil {
		g.Fatal(err)
	}
}

func (g *guest) content(name string) string {
	g.Helper()
	b, err := os.ReadFile(filepath.Join(g.root, name))
	if err != nil {
		g.Fatal(err)
	}
	return string(b)
}

// allocations is what a call of a host's function allocates.
func allocations(g *guest, call func(h *Host, s []uint64) errno, args ...uint64) float64 {
	g.Helper()
	stack := make([]uint64, len(args))
	g.host.memory = g.memory
	n := testing.AllocsPerRun(100, func() {
		copy(stack, args)
		if e := call(g.host, stack); e != success {
			g.Fatalf("errno %d", e)
		}
	})
	runtime.KeepAlive(stack)
	return n
}
