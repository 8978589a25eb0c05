package engine

import (
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/unix"
)

// What leans on parts of wazero that it does not export, and may change with
// any release, is in this file alone: the interface behind its compilation
// cache, the layout of that cache's entries, and where a module has its debug
// information. Artifacts are made and read by the same build of this program, so
// that only the code here and the version in go.mod must fit, which tests hold
// them to. Where a part is not found, artifacts hold the original module, and
// each container compiles it for itself.

// wazeroVersion is the release that was looked at.
const wazeroVersion = "1.12.0"

// entries is wazero's interface of a cache (internal/filecache.Cache), with one
// entry.
type entries interface {
	Get(key [32]byte) (content io.ReadCloser, ok bool, err error)
	Add(key [32]byte, content io.Reader) error
	Delete(key [32]byte) error
}

// cacheOf returns a cache for wazero that keeps its one entry in e.
func cacheOf(e entries) (wazero.CompilationCache, error) {
	cache := wazero.NewCompilationCache()
	field, err := hidden(cache, "fileCache")
	if err != nil {
		return nil, err
	}
	value := reflect.ValueOf(e)
	if field.Kind() != reflect.Interface || !value.Type().Implements(field.Type()) {
		return nil, fmt.Errorf("wazero's cache has the type %s", field.Type())
	}
	field.Set(value)
	return cache, nil
}

// hidden returns an unexported field of the struct that v points to, for
// reading and writing.
func hidden(v any, name string) (reflect.Value, error) {
	pointer := reflect.ValueOf(v)
	if pointer.Kind() != reflect.Pointer || pointer.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, fmt.Errorf("wazero: %T is not a pointer to a struct", v)
	}
	field := pointer.Elem().FieldByName(name)
	if !field.IsValid() {
		return reflect.Value{}, fmt.Errorf("wazero: %T has no field %s", v, name)
	}
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem(), nil
}

var errOtherEntry = errors.New("an entry of wazero's cache has another form")

// entry is what wazero writes for a compiled module, in three parts that follow
// one another (internal/engine/wazevo/engine_cache.go, serializeCompiledModule).
type entry struct {
	head []byte // up to the size of the code
	code []byte
	tail []byte // a checksum, the map from code to source, the table of exception handlers
}

func parseEntry(whole []byte) (e entry, err error) {
	const magic = "WAZEVO"
	r := &reader{rest: whole}
	if string(r.take(len(magic))) != magic {
		return e, errOtherEntry
	}
	// A program that was built without its modules' versions says dev.
	if version := string(r.take(int(r.byte()))); version != "v"+wazeroVersion && version != "dev" {
		return e, fmt.Errorf("wazero is %s, and %s was looked at", version, wazeroVersion)
	}
	functions := r.take(4)
	if r.err == nil {
		r.take(8 * int(binary.LittleEndian.Uint32(functions)))
	}
	size := r.take(8)
	if r.err != nil {
		return e, errOtherEntry
	}
	e.head = whole[:len(whole)-len(r.rest)]
	e.code = r.take(int(binary.LittleEndian.Uint64(size)))
	e.tail = r.rest
	return e, r.err
}

// keeper is a cache that keeps the entry which wazero adds.
type keeper struct{ added []byte }

func (*keeper) Get([32]byte) (io.ReadCloser, bool, error) { return nil, false, nil }
func (*keeper) Delete([32]byte) error                     { return nil }
func (k *keeper) Add(_ [32]byte, content io.Reader) error {
	// A bytes.Reader, which hands over what it has: the code is not copied.
	_, err := io.Copy(keep{&k.added}, content)
	return err
}

// keep is a writer that takes its first argument for its own.
type keep struct{ to *[]byte }

func (k keep) Write(p []byte) (int, error) {
	if *k.to == nil {
		*k.to = p
	} else {
		*k.to = append(*k.to, p...)
	}
	return len(p), nil
}

// giver is a cache that has an entry whose code is in a file.
type giver struct {
	entry  entry
	file   int   // with the code
	offset int64 // of it there, at a page
	mapped bool  // set where the code was mapped, not copied
}

func (g *giver) Get([32]byte) (io.ReadCloser, bool, error) { return &entryReader{giver: g}, true, nil }
func (*giver) Add([32]byte, io.Reader) error               { return errOtherEntry }
func (*giver) Delete([32]byte) error                       { return errOtherEntry }

// entryReader reads an entry. wazero reads the code into memory that it has
// mapped for nothing else, and makes it executable then: in place of that, the
// file is mapped there, so that all processes share its pages.
type entryReader struct {
	giver *giver
	at    int
}

func (r *entryReader) Close() error { return nil }

func (r *entryReader) Read(p []byte) (int, error) {
	e := &r.giver.entry
	head, code := len(e.head), len(e.head)+len(e.code)
	n := 0
	switch {
	case r.at < head:
		n = copy(p, e.head[r.at:])
	case r.at == head && len(p) == len(e.code) && len(p) > 0 && r.giver.mapOver(p):
		n = len(p)
	case r.at < code:
		n = copy(p, e.code[r.at-head:])
	default:
		n = copy(p, e.tail[r.at-code:])
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	r.at += n
	return n, nil
}

// mapOver maps the code over p; false where p can only be copied to, as where
// the file system with the file is mounted noexec.
func (g *giver) mapOver(p []byte) bool {
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	var fs unix.Statfs_t
	if address%uintptr(unix.Getpagesize()) != 0 || unix.Fstatfs(g.file, &fs) != nil || fs.Flags&unix.ST_NOEXEC != 0 {
		return false
	}
	// All of it is read at once, for wazero's checksum: one call fills the page tables.
	_, _, errno := unix.Syscall6(unix.SYS_MMAP, address, uintptr(len(p)), unix.PROT_READ|unix.PROT_EXEC,
		unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_POPULATE, uintptr(g.file), uintptr(g.offset))
	g.mapped = errno == 0
	return g.mapped
}

// setDebugInfo gives a module that was compiled without its DWARF sections the
// lines for the stacks of its traps.
func setDebugInfo(compiled wazero.CompiledModule, sections map[string][]byte) error {
	data, err := dwarf.New(sections[".debug_abbrev"], nil, nil, sections[".debug_info"],
		sections[".debug_line"], nil, sections[".debug_ranges"], sections[".debug_str"])
	if err != nil {
		return nil // as wazero takes it: there are no lines then
	}
	module, err := hidden(compiled, "module")
	if err != nil {
		return err
	}
	field, err := hidden(module.Interface(), "DWARFLines")
	if err != nil {
		return err
	}
	if field.Kind() != reflect.Pointer || field.Type().Elem().Kind() != reflect.Struct {
		return fmt.Errorf("wazero: debug information has the type %s", field.Type())
	}
	lines := reflect.New(field.Type().Elem())
	d, err := hidden(lines.Interface(), "d")
	if err != nil {
		return err
	}
	perEntry, err := hidden(lines.Interface(), "linesPerEntry")
	if err != nil {
		return err
	}
	if d.Type() != reflect.TypeOf(data) || perEntry.Kind() != reflect.Map {
		return fmt.Errorf("wazero: debug information has other fields")
	}
	d.Set(reflect.ValueOf(data))
	perEntry.Set(reflect.MakeMap(perEntry.Type()))
	field.Set(lines)
	return nil
}
