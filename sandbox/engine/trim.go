package engine

import (
	"encoding/binary"
	"slices"
)

// maxFunctionName bounds, in bytes, what is kept of a function's name: a stack
// has up to 30 of them.
const maxFunctionName = 1 << 10

// admit says what is wrong with a file that is no module, or one beyond what
// any may be. It returns the module without the custom sections that nothing
// here has a use for, or a use that would cost too much.
func admit(file []byte) ([]byte, error) {
	if err := recognise(file); err != nil {
		return nil, err
	}
	if err := bounded(file); err != nil {
		return nil, err
	}
	return trim(file), nil
}

// trim drops from a module that is within bounds all custom sections but those
// that tell functions' names, the toolchain's features and, where these can be
// looked up in reasonable time, source lines. Custom sections never make a
// module invalid (core specification, 7.3), but some would make wazero refuse it.
func trim(module []byte) []byte {
	debug, size := map[string][]byte{}, 0
	eachCustom(module, func(_ []byte, name string, content []byte) {
		if slices.Contains(debugSections, name) {
			debug[name] = content
			size += len(content)
		}
	})
	hasLines := size > 0 && size <= maxDebugInfo && affordable(debug)
	hasNames := false
	kept := make([]byte, 0, len(module))
	rest := eachCustom(module, func(before []byte, name string, content []byte) {
		kept = append(kept, before...)
		switch {
		case name == "name" && !hasNames: // wazero refuses a second one
			content, hasNames = functionNames(content), true
		case name == "target_features", hasLines && slices.Contains(debugSections, name):
		default:
			return
		}
		if len(content) > 0 { // wazero cannot read an empty one
			kept = appendCustom(kept, name, content)
		}
	})
	return append(kept, rest...)
}

// debugSections are those of which wazero makes source lines.
var debugSections = []string{".debug_abbrev", ".debug_info", ".debug_line", ".debug_ranges", ".debug_str"}

// eachCustom calls visit for each custom section, with what stands before it and
// after the last one, and returns what stands after all of them.
func eachCustom(module []byte, visit func(before []byte, name string, content []byte)) (rest []byte) {
	rest = module
	for r := (&reader{rest: module[8:]}); len(r.rest) > 0; {
		start := len(r.rest)
		id, content := r.byte(), r.bytes()
		if id != customSection {
			continue
		}
		section := &reader{rest: content}
		name := string(section.bytes())
		visit(rest[:len(rest)-start], name, section.rest)
		rest = r.rest
	}
	return rest
}

// functionNames is what a section "name" says of functions, fit to be printed,
// in the same form and without the rest; nothing where it is malformed.
func functionNames(section []byte) []byte {
	const functions = 1
	r := &reader{rest: section}
	for len(r.rest) > 0 && r.err == nil {
		id, content := r.byte(), r.bytes()
		if id == functions && r.err == nil {
			return functionNamesOf(content)
		}
	}
	return nil
}

func functionNamesOf(subsection []byte) []byte {
	r := &reader{rest: subsection}
	n := r.number()
	names := binary.AppendUvarint(nil, n)
	for next := uint64(0); n > 0 && r.err == nil; n-- {
		function, name := r.number(), r.bytes()
		if function < next || function > maxImports+maxFunctions {
			return nil
		}
		next = function + 1
		// Or else a name could pass for lines of the stack.
		shown := plain(string(name), maxFunctionName)
		names = binary.AppendUvarint(names, function)
		names = binary.AppendUvarint(names, uint64(len(shown)))
		names = append(names, shown...)
	}
	if r.err != nil {
		return nil
	}
	return append(binary.AppendUvarint([]byte{1}, uint64(len(names))), names...)
}

// appendCustom appends a custom section, whose name is short.
func appendCustom(module []byte, name string, content []byte) []byte {
	module = append(module, customSection)
	module = binary.AppendUvarint(module, uint64(1+len(name)+len(content)))
	module = append(append(module, byte(len(name))), name...)
	return append(module, content...)
}
