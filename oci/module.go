// Package oci finds out, from a runtime spec and an image, what shall run: which
// module, which of its functions, with which arguments.
package oci

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Module is what a container runs.
type Module struct {
	// Layer is the layer of the image that is the module; nil where the module is
	// a file in the container.
	Layer *Layer
	// Paths are the places where the module may be, absolute and as seen from
	// inside the container, the first that exists being the one. It is nil for a
	// layer.
	Paths []string
	// Function is the exported function that is called; empty means _start.
	Function string
	// Args are the guest's arguments, the program's name first.
	Args []string
	// Listen are the addresses at which the first process listens.
	Listen []netip.AddrPort
	// Declared says that the image or an annotation calls it Wasm. Otherwise the
	// file's first bytes tell.
	Declared bool
	// Note says why the image could not be asked for a layer, for the message when
	// there is no such file either. It is empty where the image was asked.
	Note string
}

// Container is a container whose first process is to be made.
type Container struct {
	ID   string
	Spec *specs.Spec
	// Annotations are the names, without Prefix, of the annotations that the
	// administrator lets count.
	Annotations []string
	// Images is where layers come from. Where it is nil, as under an engine that
	// tells the shim no address of containerd, modules are files alone.
	Images *Images
}

// Module decides what the container's first process runs. The first of these
// that there is decides: an annotation, the Wasm layer of the image, the file
// that the first argument names. Errors of the image are of errdefs.
//
// Whether that is Wasm at all is for IsLinux to say.
func (c Container) Module(ctx context.Context) (Module, error) {
	told, err := readAnnotations(c.Spec.Annotations, c.Annotations)
	if err != nil {
		return Module{}, err
	}
	entry, args, err := entryOf(c.Spec)
	if err != nil {
		return Module{}, err
	}
	entry.file = cmp.Or(told.entry.file, entry.file)
	entry.function = cmp.Or(told.entry.function, entry.function)

	m := Module{Function: entry.function, Args: args, Listen: told.listen, Declared: told.wasm}
	if c.Images == nil {
		m.Note = "containerd's address is not known, so layers of the image could not be looked at"
	} else if m.Layer, m.Note, err = c.Images.layer(ctx, c.ID, entry.file); err != nil {
		return Module{}, err
	}
	if m.Layer != nil {
		m.Declared = true
		m.Args[0] = cmp.Or(m.Args[0], m.Layer.Title, "main.wasm")
		return m, nil
	}
	return m.inRootfs(entry.file, c.Spec.Process)
}

// Another decides what a further process of m's container runs: the container's
// layer again where the first argument is that of the first process, else a file.
func (m Module) Another(spec *specs.Spec) (Module, error) {
	entry, args, err := entryOf(spec)
	if err != nil {
		return Module{}, err
	}
	another := Module{Function: entry.function, Args: args}
	if m.Layer != nil && (entry.file == "" || entry.file == m.Args[0] || m.Layer.titled(entry.file)) {
		another.Layer, another.Declared = m.Layer, true
		another.Args[0] = m.Args[0]
		return another, nil
	}
	return another.inRootfs(entry.file, spec.Process)
}

// Resolve decides by process.args of the spec alone: the module is a file. The
// first argument names it as a command line names a program: a path, or a name
// that is looked up along the container's PATH. As images for Wasm often say
// ENTRYPOINT ["app.wasm"], a name that is not on PATH is looked for in the
// working directory and in the root directory too. What follows a '#' is the
// function to call.
//
// Resolve only looks at the spec; whether a file is there is for the sandbox
// to see, from inside the container, where mounts and symbolic links count.
func Resolve(spec *specs.Spec) (Module, error) {
	return Module{}.Another(spec)
}

// inRootfs makes m the module in a file.
func (m Module) inRootfs(file string, process *specs.Process) (Module, error) {
	if file == "" {
		return Module{}, fmt.Errorf("process.args[0]: %s names a function but no module; write path.wasm#function: %w",
			quote(process.Args[0]), errdefs.ErrInvalidArgument)
	}
	m.Paths = candidates(file, process)
	return m, nil
}

// entry is what a command line's first word says: a module, a function, or both.
type entry struct{ file, function string }

// dockerInit is where `docker run --init` mounts a program, which it puts before
// the command line: it reaps processes and passes signals on.
const dockerInit = "/sbin/docker-init"

// entryOf takes the first argument apart, and returns the guest's arguments.
// Docker's init is passed over: a guest starts no processes, and the process that
// runs it minds signals.
func entryOf(spec *specs.Spec) (entry, []string, error) {
	process := spec.Process
	if process == nil {
		return entry{}, nil, fmt.Errorf("process: the runtime spec has none, so there is no module to run: %w", errdefs.ErrInvalidArgument)
	}
	if len(process.Args) == 0 || process.Args[0] == "" {
		return entry{}, nil, fmt.Errorf("process.args: empty; the first argument names the module to run, such as /app.wasm: %w", errdefs.ErrInvalidArgument)
	}
	args := slices.Clone(process.Args)
	mounted := slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == dockerInit })
	if mounted && len(args) > 2 && args[0] == dockerInit && args[1] == "--" {
		args = args[2:]
	}
	e, err := parseEntry("process.args[0]", args[0])
	if err != nil {
		return entry{}, nil, err
	}
	args[0] = e.file
	return e, args, nil
}

// parseEntry reads "file", "file#function" or "#function"; field is where it stood.
func parseEntry(field, text string) (entry, error) {
	file, function, hasFunction := strings.Cut(text, "#")
	if hasFunction && function == "" {
		return entry{}, fmt.Errorf("%s: %s has nothing after the '#'; write path.wasm#function, or path.wasm for _start: %w",
			field, quote(text), errdefs.ErrInvalidArgument)
	}
	return entry{file, function}, nil
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

// quote makes text of others fit for a message: no control characters, and not
// much of it.
func quote(text string) string {
	const most = 200
	if len(text) > most {
		return fmt.Sprintf("%q… (%d bytes)", text[:most], len(text))
	}
	return fmt.Sprintf("%q", text)
}

// shown is a digest in a message; one that is none is quoted.
func shown(d digest.Digest) string {
	if d.Validate() != nil {
		return quote(string(d))
	}
	return string(d)
}
