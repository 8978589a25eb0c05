package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wasi"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// host is what the runtime provides: functions by module and name.
type host map[string]map[string]api.FunctionDefinition

// provide makes the host modules that the module imports from, with the functions
// of WASI's host that it imports, and names the imports that none of them has.
func provide(ctx context.Context, runtime wazero.Runtime, s *shape, from *wasi.Host) (host, error) {
	wanted := map[string][]string{}
	var missing []importName
	for _, imp := range s.imports {
		if imp.kind != kindFunc || !wasi.Has(imp.module, imp.name) {
			missing = append(missing, imp)
		} else if !slices.Contains(wanted[imp.module], imp.name) {
			wanted[imp.module] = append(wanted[imp.module], imp.name)
		}
	}
	if len(missing) > 0 {
		return nil, missingImports(missing)
	}
	provided := host{}
	for module, names := range wanted {
		made, err := from.Instantiate(ctx, runtime, module, names)
		if err != nil {
			return nil, fmt.Errorf("needs %s, which cannot be set up: %w", module, err)
		}
		provided[module] = made.ExportedFunctionDefinitions()
	}
	return provided, nil
}

// missingImports names at most a few of them, and what each module of them
// tells about the program.
func missingImports(missing []importName) error {
	var names, hints []string
	for _, imp := range missing {
		names = append(names, imp.module+"."+imp.name)
		if hint := hintFor(imp); hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	message := "imports " + listed(names) + ", which this runtime does not provide"
	for _, hint := range hints {
		message += "; " + hint
	}
	return fmt.Errorf("%s", message)
}

// hintFor says what an import that nobody provides gives away.
func hintFor(imp importName) string {
	switch module := imp.module; {
	case module == "wasi_snapshot_preview2" || strings.HasPrefix(module, "wasi:"):
		return module + " belongs to WASI 0.2 components: build it for WASI preview 1 (wasm32-wasip1)"
	case module == "wasi" && imp.name == "thread-spawn", imp.shared:
		return "it was built for wasi-threads: build it without threads"
	case module == wasi.Preview1 && strings.HasPrefix(imp.name, "sock_"):
		return "sockets beyond WASI preview 1 are an extension of some runtimes"
	case module == wasi.Preview1:
		return "WASI preview 1 has no such function"
	case module == wasi.Unstable:
		return "the preview of WASI before preview 1 has no such function"
	case strings.HasPrefix(module, "wasi_"):
		return module + " is an extension of WASI of some runtimes"
	case module == "env" || module == "a":
		return "it was built for a host in JavaScript, such as Emscripten's, or with symbols left undefined"
	case module == "go" || module == "gojs":
		return "it was built for a browser: build it with GOOS=wasip1"
	case strings.HasPrefix(module, "__wbindgen") || module == "wbg":
		return "it was built with wasm-bindgen for a browser"
	}
	return ""
}

// listed joins names, and counts those that would be too many to read.
func listed(names []string) string {
	const shown = 8
	if more := len(names) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", listed(names[:shown]), more)
	}
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = plain(name, maxName)
	}
	return strings.Join(short, ", ")
}

// checkTypes compares the imported functions with the host's. All of them are
// there: provide has seen to that.
func (h host) checkTypes(compiled wazero.CompiledModule) error {
	for _, wanted := range compiled.ImportedFunctions() {
		module, name, _ := wanted.Import()
		if have := h[module][name]; signature(wanted) != signature(have) {
			return fmt.Errorf("imports %s.%s as a function %s, but it is %s",
				module, name, signature(wanted), signature(have))
		}
	}
	return nil
}

// signature is a function's type in the notation of the specification:
// [parameters] -> [results].
func signature(f api.FunctionDefinition) string {
	types := func(types []api.ValueType) string {
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = api.ValueTypeName(t)
		}
		return "[" + strings.Join(names, " ") + "]"
	}
	return types(f.ParamTypes()) + " -> " + types(f.ResultTypes())
}
