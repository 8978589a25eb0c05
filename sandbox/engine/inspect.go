package engine

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Report is what a file says about itself, for whoever builds or receives it.
type Report struct {
	Imports, Exports []Item
	// Memories are their limits, such as "16 MiB, at most 4096 MiB".
	Memories []string
	// Proposals are the additions to WebAssembly 1.0 without which wazero refuses
	// the module, by their names; complete where Refusal is nil.
	Proposals []string
	// HasStart says that a start section runs code before the entry function.
	HasStart bool
	// Refusal is why this runtime cannot run the entry function that was asked
	// for, in the words of Load; nil where it can.
	Refusal error
}

// Item is one import or export.
type Item struct {
	Module string // empty for exports
	Name   string
	Kind   string // function, table, memory, global or tag
	Type   string // of a function: [parameters] -> [results]; empty where it is not known
}

// Inspect reads a module and tries whether this runtime could run the function,
// _start if it is empty, by loading it; no guest code runs. The file may be
// anything at all. As Load, Inspect is called once in a process.
func Inspect(ctx context.Context, name string, file []byte, function string) Report {
	var report Report
	if recognise(file) == nil {
		report.read(ctx, file)
	}
	_, report.Refusal = Load(ctx, Config{Name: name, Binary: file, Function: function})
	return report
}

// Recognise says what is wrong with a file that is no core module, as Load
// would; it looks at the first bytes only.
func Recognise(file []byte) error { return recognise(file) }

func (r *Report) read(ctx context.Context, file []byte) {
	s := scan(file)
	r.HasStart = s.hasStart
	for _, imp := range s.imports {
		r.Imports = append(r.Imports, Item{Module: imp.module, Name: imp.name, Kind: kindName(imp.kind)})
	}
	r.Exports = scanExports(file)
	compiled, features := leastFeatures(ctx, file)
	r.Proposals = proposals(s, features)
	r.Memories = memories(s, compiled)
	if compiled == nil {
		return
	}
	types := map[string]string{}
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		types[module+"\x00"+name] = signature(f)
	}
	for i, imp := range r.Imports {
		if imp.Kind == kindName(kindFunc) {
			r.Imports[i].Type = types[imp.Module+"\x00"+imp.Name]
		}
	}
	for i, export := range r.Exports {
		if f := compiled.ExportedFunctions()[export.Name]; f != nil {
			r.Exports[i].Type = signature(f)
		}
	}
}

// scanExports reads the export section (core specification, 5.5.10) of a file
// that recognise has seen, as far as it is well-formed.
func scanExports(file []byte) (exports []Item) {
	for id, content := range sections(file) {
		if id != 7 {
			continue
		}
		for n := content.number(); n > 0 && content.err == nil; n-- {
			export := Item{Name: string(content.bytes()), Kind: kindName(content.byte())}
			content.number()
			if content.err == nil {
				exports = append(exports, export)
			}
		}
	}
	return exports
}

// leastFeatures compiles a module with the fewest features beyond WebAssembly 1.0
// with which wazero takes it; compiled is nil where it does not with all that
// this runtime has.
func leastFeatures(ctx context.Context, file []byte) (compiled wazero.CompiledModule, features api.CoreFeatures) {
	features = api.CoreFeaturesV1
	for {
		module, err := interpret(ctx, file, features)
		if err == nil {
			return module, features
		}
		missing := disabledFeature(err) &^ features
		if missing == 0 {
			break
		}
		features |= missing
	}
	// Not every feature is asked for by name.
	module, err := interpret(ctx, file, coreFeatures())
	if err != nil {
		return nil, features
	}
	features = coreFeatures()
	for feature := range optional(features) {
		if without, err := interpret(ctx, file, features&^feature); err == nil {
			module, features = without, features&^feature
		}
	}
	return module, features
}

// interpret compiles for the interpreter, which takes the least time.
func interpret(ctx context.Context, file []byte, features api.CoreFeatures) (compiled wazero.CompiledModule, err error) {
	defer recoverFailure(&err)
	return wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().
		WithCoreFeatures(features).WithDebugInfoEnabled(false)).CompileModule(ctx, file)
}

// optional yields those of the features that are beyond WebAssembly 1.0.
func optional(features api.CoreFeatures) iter.Seq[api.CoreFeatures] {
	return func(yield func(api.CoreFeatures) bool) {
		for rest := features &^ api.CoreFeaturesV1; rest != 0; rest &= rest - 1 {
			if !yield(rest & -rest) {
				return
			}
		}
	}
}

// disabledFeature is the feature that an error of wazero's says is off
// (api.CoreFeatures.RequireEnabled), or 0.
func disabledFeature(err error) api.CoreFeatures {
	for feature := range optional(coreFeatures()) {
		if strings.Contains(err.Error(), fmt.Sprintf("feature %q is disabled", feature.String())) {
			return feature
		}
	}
	return 0
}

// proposals names what wazero asked for and what the module's shape shows.
func proposals(s *shape, features api.CoreFeatures) []string {
	var names []string
	for feature := range optional(features) {
		names = append(names, feature.String())
	}
	add := func(needed bool, name string) {
		if needed && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, m := range s.memories {
		add(m.flags&limitsShared != 0, "threads")
		add(m.flags&limits64 != 0, "memory64")
		add(m.flags&limitsPage != 0, "custom-page-sizes")
	}
	add(len(s.memories) > 1, "multi-memory")
	add(s.hasGC, "gc")
	return names
}

// memories are the limits that the module's shape shows. A maximum is wazero's to
// tell, of the memory that is exported or imported.
func memories(s *shape, compiled wazero.CompiledModule) []string {
	var texts []string
	for _, m := range s.memories {
		texts = append(texts, mebibytes(min(m.min, math.MaxUint64/pageSize)*pageSize))
	}
	if compiled == nil || len(texts) != 1 {
		return texts
	}
	definitions := compiled.ImportedMemories()
	for _, m := range compiled.ExportedMemories() {
		definitions = append(definitions, m)
	}
	for _, m := range definitions {
		if most, encoded := m.Max(); encoded {
			return []string{texts[0] + ", at most " + mebibytes(uint64(most)*pageSize)}
		}
	}
	return texts
}

func kindName(kind byte) string {
	names := [...]string{kindFunc: "function", kindTable: "table", kindMemory: "memory", kindGlobal: "global", kindTag: "tag"}
	if int(kind) < len(names) {
		return names[kind]
	}
	return fmt.Sprintf("kind %d", kind)
}
