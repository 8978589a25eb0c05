package engine

import (
	"bytes"
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"sort"
	"unsafe"

	"github.com/tetratelabs/wazero"
)

// What leans on parts of wazero that it does not export, and may change with
// any release, is in this file alone: the interface behind its compilation
// cache, the form of that cache's entries, and where a compiled module has its
// code and its debug information. Artifacts are made and read by the same build
// of this program, so that only the code here and the version in go.mod must fit,
// which tests hold them to. Where a part is not found, artifacts hold the
// original module, and each container compiles it for itself.

// wazeroVersion is the release that was looked at.
const wazeroVersion = "1.12.0"

// fileCache is wazero's interface of a cache (internal/filecache.Cache).
type fileCache interface {
	Get(key [32]byte) (content io.ReadCloser, ok bool, err error)
	Add(key [32]byte, content io.Reader) error
	Delete(key [32]byte) error
}

// cacheOf returns a cache for wazero whose entries e has.
func cacheOf(e fileCache) (wazero.CompilationCache, error) {
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

// native is what wazero has of a compiled module, apart from the module.
type native struct {
	// entry is one of wazero's cache (internal/engine/wazevo/engine_cache.go), with
	// standIn in place of the code and without the lines: wazero would read all of
	// both at each start.
	entry []byte
	code  []byte
	// owner has the code's mapping, which goes with it.
	owner wazero.CompiledModule
	// binaryOffsets and codeOffsets, of the same length, say which place in the
	// module's code section each place in the code comes from.
	binaryOffsets []uint64
	codeOffsets   []uint64
}

var standIn = []byte{0}

// internals are the parts of a module that wazero has compiled.
type internals struct {
	version string
	sorted  reflect.Value // the engine's modules by the addresses of their code

	executable      reflect.Value // []byte
	functionOffsets reflect.Value // []int
	codeOffsets     reflect.Value // []uintptr, absolute
	binaryOffsets   reflect.Value // []uint64
	handlers        reflect.Value // [][]struct{Kind, TagIndex}
}

func internalsOf(compiled wazero.CompiledModule) (in internals, err error) {
	engine, err := hidden(compiled, "compiledEngine")
	if err != nil {
		return in, err
	}
	modules, err := hidden(engine.Elem().Interface(), "compiledModules")
	if err != nil {
		return in, err
	}
	module, err := compiledModule(modules)
	if err != nil {
		return in, err
	}
	executables, err := hidden(module, "executables")
	if err != nil {
		return in, err
	}
	lines, err := hidden(module, "sourceMap")
	if err != nil {
		return in, err
	}
	version := reflect.ValueOf(&in.version).Elem()
	for _, part := range []struct {
		of   any
		name string
		like any // of the same type; nil where that is looked at elsewhere
		to   *reflect.Value
	}{
		{engine.Elem().Interface(), "wazeroVersion", "", &version},
		{engine.Elem().Interface(), "sortedCompiledModules", nil, &in.sorted},
		{executables.Interface(), "executable", []byte(nil), &in.executable},
		{module, "functionOffsets", []int(nil), &in.functionOffsets},
		{lines.Addr().Interface(), "executableOffsets", []uintptr(nil), &in.codeOffsets},
		{lines.Addr().Interface(), "wasmBinaryOffsets", []uint64(nil), &in.binaryOffsets},
		{module, "catchClauseTable", nil, &in.handlers},
	} {
		field, err := hidden(part.of, part.name)
		if err != nil {
			return in, err
		}
		if part.like != nil && field.Type() != reflect.TypeOf(part.like) {
			return in, fmt.Errorf("wazero: %s has the type %s", part.name, field.Type())
		}
		*part.to = field
	}
	in.version = version.String()
	if in.sorted.Kind() != reflect.Slice || in.sorted.Type().Elem() != reflect.TypeOf(module) {
		return in, fmt.Errorf("wazero: sorted modules have the type %s", in.sorted.Type())
	}
	return in, nil
}

// nativeOf takes a compiled module apart. What it returns is wazero's in part,
// and not to be changed.
func nativeOf(compiled wazero.CompiledModule) (n native, err error) {
	in, err := internalsOf(compiled)
	if err != nil {
		return n, err
	}
	// A program that was built without its modules' versions says dev.
	if in.version != "v"+wazeroVersion && in.version != "dev" {
		return n, fmt.Errorf("wazero is %s, and %s was looked at", in.version, wazeroVersion)
	}
	n.code, n.owner = in.executable.Bytes(), compiled
	if len(n.code) == 0 {
		return n, errors.New("the module has no code")
	}
	order := binary.LittleEndian
	functions := in.functionOffsets.Interface().([]int)
	n.entry = append([]byte("WAZEVO"), byte(len(in.version)))
	n.entry = append(n.entry, in.version...)
	n.entry = order.AppendUint32(n.entry, uint32(len(functions)))
	for _, offset := range functions {
		n.entry = order.AppendUint64(n.entry, uint64(offset))
	}
	n.entry = order.AppendUint64(n.entry, uint64(len(standIn)))
	n.entry = append(n.entry, standIn...)
	n.entry = order.AppendUint32(n.entry, crc32.Checksum(standIn, crc32.MakeTable(crc32.Castagnoli)))
	n.entry = append(n.entry, 0) // no lines
	n.binaryOffsets = in.binaryOffsets.Interface().([]uint64)
	base := addressOf(n.code)
	for _, address := range in.codeOffsets.Interface().([]uintptr) {
		n.codeOffsets = append(n.codeOffsets, uint64(address-base))
	}
	return n, appendHandlers(&n.entry, in.handlers)
}

// give gives a module that wazero has compiled from n's entry the code, which is
// mapped and stays so, and its lines.
func (n *native) give(compiled wazero.CompiledModule) error {
	in, err := internalsOf(compiled)
	if err != nil {
		return err
	}
	in.executable.SetBytes(n.code)
	if len(n.codeOffsets) > 0 {
		base := addressOf(n.code)
		addresses := make([]uintptr, len(n.codeOffsets))
		for i, offset := range n.codeOffsets {
			addresses[i] = base + uintptr(offset)
		}
		in.codeOffsets.Set(reflect.ValueOf(addresses))
		in.binaryOffsets.Set(reflect.ValueOf(n.binaryOffsets))
	}
	address := func(i int) uintptr {
		executables, err2 := hidden(in.sorted.Index(i).Interface(), "executables")
		if err2 == nil {
			var code reflect.Value
			if code, err2 = hidden(executables.Interface(), "executable"); err2 == nil {
				return addressOf(code.Bytes())
			}
		}
		err = err2
		return 0
	}
	sort.Slice(in.sorted.Interface(), func(i, j int) bool { return address(i) < address(j) })
	return err
}

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

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

// oneEntry is a cache that has one entry, whatever it is asked for.
type oneEntry []byte

var errOtherEntry = errors.New("wazero does not take the artifact's entry")

func (e oneEntry) Get([32]byte) (io.ReadCloser, bool, error) {
	return io.NopCloser(bytes.NewReader(e)), true, nil
}
func (oneEntry) Add([32]byte, io.Reader) error { return errOtherEntry }
func (oneEntry) Delete([32]byte) error         { return errOtherEntry }

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
