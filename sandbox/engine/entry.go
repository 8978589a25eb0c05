package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
)

// The functions that WASI names: a command's and a reactor's
// (WASI "Application ABI").
const (
	startFunction      = "_start"
	initializeFunction = "_initialize"
)

// entries are the signatures of a module's exported functions, by their names.
type entries map[string]string

// entriesOf reads them from a compiled module. wazero describes every function
// of the module for that, so that an artifact has the result.
func entriesOf(compiled wazero.CompiledModule) entries {
	all := entries{}
	for name, f := range compiled.ExportedFunctions() {
		all[name] = signature(f)
	}
	return all
}

// check says whether the function can be called: it takes nothing, as there is
// nothing to give it, and returns nothing or one i32, which becomes the exit
// code as a C program's would. _start returns nothing.
func (e entries) check(function string) error {
	switch have, exported := e[function]; {
	case !exported:
		return e.missing(function)
	case have == "[] -> []":
		return nil
	case function == startFunction:
		return fmt.Errorf("exports the function _start as %s; it must be [] -> []", have)
	case have == "[] -> [i32]":
		return nil
	default:
		return fmt.Errorf("exports the function %s as %s; to be called it must be [] -> [] or [] -> [i32]", function, have)
	}
}

func (e entries) missing(function string) error {
	names := slices.Sorted(maps.Keys(e))
	callable := "it exports the functions " + listed(names)
	if len(names) == 0 {
		callable = "it exports no function"
	}
	if function != startFunction {
		return fmt.Errorf("exports no function %q; %s", function, callable)
	}
	kind := "exports no function _start, the entry of a WASI command"
	if _, exported := e[initializeFunction]; exported {
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
