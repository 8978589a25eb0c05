// Package oci finds out, from a runtime spec and an image, what shall run.
package oci

import (
	"errors"
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Module is what a container runs.
type Module struct {
	// Paths are the places where the module may be, absolute and as seen from
	// inside the container, the first that exists being the one.
	Paths []string
	// Function is the exported function that is called; empty means _start.
	Function string
	// Args are the guest's arguments, the program's name first.
	Args []string
}

// Resolve reads process.args of the spec. The first argument names the module
// as a command line names a program: a path, or a name that is looked up along
// the container's PATH. As images for Wasm often say ENTRYPOINT ["app.wasm"], a
// name that is not on PATH is looked for in the working directory and in the
// root directory too. What follows a '#' is the function to call.
//
// Resolve only looks at the spec; whether a file is there is for the sandbox
// to see, from inside the container, where mounts and symbolic links count.
func Resolve(spec *specs.Spec) (Module, error) {
	if spec.Process == nil {
		return Module{}, errors.New("process: the runtime spec has none, so there is no module to run")
	}
	if len(spec.Process.Args) == 0 || spec.Process.Args[0] == "" {
		return Module{}, errors.New("process.args: empty; the first argument names the module to run, such as /app.wasm")
	}
	file, function, hasFunction := strings.Cut(spec.Process.Args[0], "#")
	switch {
	case file == "":
		return Module{}, fmt.Errorf("process.args[0]: %q names a function but no module; write path.wasm#function", spec.Process.Args[0])
	case hasFunction && function == "":
		return Module{}, fmt.Errorf("process.args[0]: %q has nothing after the '#'; write path.wasm#function, or path.wasm for _start", spec.Process.Args[0])
	}
	return Module{
		Paths:    candidates(file, spec.Process),
		Function: function,
		Args:     append([]string{file}, spec.Process.Args[1:]...),
	}, nil
}

// candidates lists where file may be, without repeating a place.
func candidates(file string, process *specs.Process) []string {
	cwd := path.Join("/", process.Cwd)
	if strings.Contains(file, "/") {
		if !path.IsAbs(file) {
			file = path.Join(cwd, file)
		}
		return []string{path.Clean(file)}
	}
	var places []string
	seen := map[string]bool{}
	add := func(dir string) {
		if place := path.Join("/", dir, file); !seen[place] {
			seen[place] = true
			places = append(places, place)
		}
	}
	for _, dir := range strings.Split(lookup(process.Env, "PATH"), ":") {
		if path.IsAbs(dir) {
			add(dir)
		}
	}
	add(cwd)
	add("/")
	return places
}

// lookup returns the last value of a variable, which is the one that counts.
func lookup(env []string, name string) (value string) {
	for _, entry := range env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
