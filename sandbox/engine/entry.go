package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// The functions that WASI names: a command's and a reactor's
// (WASI "Application ABI").
const (
	startFunction      = "_start"
	initializeFunction = "_initialize"
)

// checkEntry says whether the function can be called: it takes nothing, as
// there is nothing to give it, and returns nothing or one i32, which becomes
// the exit code as a C program's would. _start returns nothing.
func checkEntry(compiled wazero.CompiledModule, function string) error {
	exports := compiled.ExportedFunctions()
	entry := exports[function]
	if entry == nil {
		return missingEntry(exports, function)
	}
	results := entry.ResultTypes()
	takesNothing := len(entry.ParamTypes()) == 0
	switch {
	case takesNothing && len(results) == 0:
		return nil
	case function == startFunction:
		return fmt.Errorf("exports the function _start as %s; it must be [] -> []", signature(entry))
	case takesNothing && len(results) == 1 && results[0] == api.ValueTypeI32:
		return nil
	}
	return fmt.Errorf("exports the function %s as %s; to be called it must be [] -> [] or [] -> [i32]",
		function, signature(entry))
}

func missingEntry(exports map[string]api.FunctionDefinition, function string) error {
	names := slices.Sorted(maps.Keys(exports))
	callable := "it exports the functions " + listed(names)
	if len(names) == 0 {
		callable = "it exports no function"
	}
	if function != startFunction {
		return fmt.Errorf("exports no function %q; %s", function, callable)
	}
	kind := "exports no function _start, the entry of a WASI command"
	if exports[initializeFunction] != nil {
		kind = "is a reactor, a library without the entry function _start"
	}
	message := fmt.Sprintf("%s; %s", kind, callable)
	if len(names) > 0 {
		message += ": one of them can be the entry point as MODULE#FUNCTION"
	}
	return errors.New(message)
}

// explain turns what wazero says about a module that it refuses into a
// sentence, and names the proposal where an instruction gives it away.
func explain(err error, s *shape) error {
	text := err.Error()
	for _, known := range []struct{ text, proposal, remedy string }{
		{"legacy exception handling", "legacy exception handling",
			"build it with the exception handling of WebAssembly 3.0 (exnref), or translate it with wasm-opt --translate-to-exnref"},
		{"invalid instruction 0xfb", "garbage collection", ""},
		{"unknown misc opcode 0x13", "wide arithmetic", ""},
		{"unknown misc opcode 0x14", "wide arithmetic", ""},
		{"unknown misc opcode 0x15", "wide arithmetic", ""},
		{"unknown misc opcode 0x16", "wide arithmetic", ""},
	} {
		if strings.Contains(text, known.text) {
			return fmt.Errorf("%w (%s)", unsupported(known.proposal, known.remedy), text)
		}
	}
	if slices.Contains(s.features, "relaxed-simd") || s.usesRelaxedSIMD() {
		return fmt.Errorf("%w (%s)", unsupported("relaxed SIMD", ""), text)
	}
	return fmt.Errorf("is not valid WebAssembly: %s", text)
}
