package engine

import (
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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

// entry is what wazero reads of a compiled module, in three parts that follow one
// another (internal/engine/wazevo/engine_cache.go).
type entry struct {
	head []byte // up to the size of the code
	code []byte
	tail []byte // a checksum, the map from code to source, the table of exception handlers
}

// entryOf makes the entry of a module that wazero has compiled. wazero makes the
// same for a cache, and takes several times the memory of the code for it.
func entryOf(compiled wazero.CompiledModule) (e entry, err error) {
	var code struct {
		executable        []byte
		functionOffsets   []int
		executableOffsets []uintptr
		binaryOffsets     []uint64
		version           string
	}
	engine, err := hidden(compiled, "compiledEngine")
	if err != nil {
		return e, err
	}
	modules, err := hidden(engine.Elem().Interface(), "compiledModules")
	if err != nil {
		return e, err
	}
	module, err := compiledModule(modules)
	if err != nil {
		return e, err
	}
	executables, err := hidden(module, "executables")
	if err != nil {
		return e, err
	}
	sources, err := hidden(module, "sourceMap")
	if err != nil {
		return e, err
	}
	for _, part := range []struct {
		of   any
		name string
		to   any
	}{
		{engine.Elem().Interface(), "wazeroVersion", &code.version},
		{executables.Interface(), "executable", &code.executable},
		{module, "functionOffsets", &code.functionOffsets},
		{sources.Addr().Interface(), "executableOffsets", &code.executableOffsets},
		{sources.Addr().Interface(), "wasmBinaryOffsets", &code.binaryOffsets},
	} {
		field, err := hidden(part.of, part.name)
		if err != nil {
			return e, err
		}
		to := reflect.ValueOf(part.to).Elem()
		if field.Type() != to.Type() {
			return e, fmt.Errorf("wazero: %s has the type %s", part.name, field.Type())
		}
		to.Set(field)
	}
	// A program that was built without its modules' versions says dev.
	if code.version != "v"+wazeroVersion && code.version != "dev" {
		return e, fmt.Errorf("wazero is %s, and %s was looked at", code.version, wazeroVersion)
	}
	if len(code.executable) == 0 {
		return e, errors.New("the module has no code")
	}

	order := binary.LittleEndian
	e.head = append([]byte("WAZEVO"), byte(len(code.version)))
	e.head = append(e.head, code.version...)
	e.head = order.AppendUint32(e.head, uint32(len(code.functionOffsets)))
	for _, offset := range code.functionOffsets {
		e.head = order.AppendUint64(e.head, uint64(offset))
	}
	e.head = order.AppendUint64(e.head, uint64(len(code.executable)))
	e.code = code.executable
	e.tail = order.AppendUint32(nil, crc32.Checksum(code.executable, crc32.MakeTable(crc32.Castagnoli)))
	if len(code.executableOffsets) == 0 {
		e.tail = append(e.tail, 0)
	} else {
		e.tail = order.AppendUint64(append(e.tail, 1), uint64(len(code.binaryOffsets)))
		base := uintptr(unsafe.Pointer(unsafe.SliceData(code.executable)))
		for i, offset := range code.binaryOffsets {
			e.tail = order.AppendUint64(e.tail, offset)
			e.tail = order.AppendUint64(e.tail, uint64(code.executableOffsets[i]-base))
		}
	}
	handlers, err := hidden(module, "catchClauseTable")
	if err != nil {
		return e, err
	}
	return e, appendHandlers(&e.tail, handlers)
}

// compiledModule returns the one guest among the modules of an engine; the
// others are the host's.
func compiledModule(modules reflect.Value) (module any, err error) {
	if modules.Kind() != reflect.Map {
		return nil, fmt.Errorf("wazero: modules have the type %s", modules.Type())
	}
	for _, key := range modules.MapKeys() {
		counted := modules.MapIndex(key).Interface()
		compiled, err := hidden(counted, "compiledModule")
		if err != nil {
			return nil, err
		}
		source, err := hidden(compiled.Interface(), "module")
		if err != nil {
			return nil, err
		}
		isHost, err := hidden(source.Interface(), "IsHostModule")
		if err != nil {
			return nil, err
		}
		if isHost.Kind() == reflect.Bool && !isHost.Bool() {
			return compiled.Interface(), nil
		}
	}
	return nil, errors.New("wazero has not compiled the module")
}

// appendHandlers writes the table of exception handlers: for each try_table its
// clauses, of a kind and a tag.
func appendHandlers(to *[]byte, table reflect.Value) error {
	element := table.Type()
	for range 2 {
		if element.Kind() != reflect.Slice {
			return fmt.Errorf("wazero: exception handlers have the type %s", table.Type())
		}
		element = element.Elem()
	}
	if element.Kind() != reflect.Struct || element.NumField() != 2 ||
		element.Field(0).Name != "Kind" || element.Field(1).Name != "TagIndex" {
		return fmt.Errorf("wazero: an exception handler has the type %s", element)
	}
	order := binary.LittleEndian
	*to = order.AppendUint32(*to, uint32(table.Len()))
	for i := range table.Len() {
		clauses := table.Index(i)
		*to = order.AppendUint32(*to, uint32(clauses.Len()))
		for j := range clauses.Len() {
			*to = append(*to, byte(clauses.Index(j).Field(0).Uint()))
			*to = order.AppendUint32(*to, uint32(clauses.Index(j).Field(1).Uint()))
		}
	}
	return nil
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
