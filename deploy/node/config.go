package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// handler is the runtime's name in containerd's configuration and in the
// RuntimeClass; runtimeType is what it stands for.
const (
	handler     = "wasm"
	runtimeType = "io.containerd.wasm.v1"
)

// source is one file of containerd's configuration, without what the installer
// has added to it.
type source struct {
	path    string
	Version int            `toml:"version"`
	Imports []string       `toml:"imports"`
	Plugins map[string]any `toml:"plugins"`

	empty bool // not a key in it
}

// sources are the files of a configuration in the order in which containerd reads
// them: the first imports the others.
type sources []source

// load reads a configuration as containerd does (LoadConfig in
// services/server/config/config.go of 1.7, cmd/containerd/server/config/config.go
// of 2): each file once, imports after the file with them, a pattern with * as a
// glob. A first file that is not there is one without keys. Files that are wholly
// the installer's are passed over.
func load(h host, main string, r *record) (sources, error) {
	var all sources
	seen := map[string]bool{}
	for pending := []string{main}; len(pending) > 0; {
		path := pending[0]
		pending = pending[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		if c, ok := r.find(path); ok && c.Kind == file {
			continue
		}
		data, err := h.read(path)
		if err == nil && data == nil && path != main {
			err = errors.New("it is imported, but not there")
		}
		if err != nil {
			return nil, fmt.Errorf("containerd's configuration %s on the node: %w", path, err)
		}
		s, err := parse(path, withoutBlock(data))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		imports, err := s.resolve(h)
		if err != nil {
			return nil, err
		}
		pending = append(pending, imports...)
	}
	return all, nil
}

func parse(path string, data []byte) (source, error) {
	s := source{path: path}
	var keys map[string]any
	err := errors.Join(toml.Unmarshal(data, &keys), toml.Unmarshal(data, &s))
	if syntax, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := syntax.Position()
		return s, fmt.Errorf("containerd's configuration %s on the node: line %d, column %d: %w; containerd itself cannot start with it", path, row, column, syntax)
	}
	if err != nil {
		return s, fmt.Errorf("containerd's configuration %s on the node: %w", path, err)
	}
	s.empty = len(keys) == 0
	return s, nil
}

// resolve names the files that are imported.
func (s source) resolve(h host) (paths []string, err error) {
	for _, pattern := range s.Imports {
		pattern = s.absolute(pattern)
		if !strings.Contains(pattern, "*") {
			paths = append(paths, pattern)
			continue
		}
		// The folder's links are followed first, or the glob would leave the node.
		dir, err := h.path(filepath.Dir(pattern))
		if err != nil {
			return nil, err
		}
		found, err := filepath.Glob(filepath.Join(dir, filepath.Base(pattern)))
		if err != nil {
			return nil, fmt.Errorf("containerd's configuration %s on the node: imports %q: %w", s.path, pattern, err)
		}
		for _, path := range found {
			paths = append(paths, filepath.Join(filepath.Dir(pattern), filepath.Base(path)))
		}
	}
	return paths, nil
}

// absolute is an imported path: relative ones begin at the file's folder.
func (s source) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(s.path), path)
}

// dropIn is a path that the file imports because of a glob.
func (s source) dropIn() (path string, ok bool) {
	for _, pattern := range s.Imports {
		pattern = s.absolute(pattern)
		dir, base := filepath.Split(pattern)
		if strings.Count(base, "*") == 1 && !strings.ContainsAny(dir+base, `?[\`) && !strings.Contains(dir, "*") {
			return dir + strings.Replace(base, "*", handler, 1), true
		}
	}
	return "", false
}

// section is the table in which a file of that version has CRI's runtimes.
func section(version int) string {
	if version >= 3 {
		return "io.containerd.cri.v1.runtime"
	}
	return "io.containerd.grpc.v1.cri"
}

// at follows keys through tables; nil is what is not there.
func at(table any, keys ...string) any {
	for _, key := range keys {
		t, ok := table.(map[string]any)
		if !ok {
			return nil
		}
		table = t[key]
	}
	return table
}

// runtimes are those of CRI that a file has.
func (s source) runtimes() map[string]any {
	t, _ := at(s.Plugins, section(s.Version), "containerd", "runtimes").(map[string]any)
	return t
}

// lastWord is the last file with a CRI section, which in releases before 2.0 is
// the only one that counts (mergeConfig there replaces whole sections).
func (all sources) lastWord() (s source, ok bool) {
	for _, s := range all {
		if at(s.Plugins, section(2)) != nil {
			all, ok = sources{s}, true
		}
	}
	return all[0], ok
}

// byHand is the file in which somebody else has configured the handler.
func (all sources) byHand() (path string, err error) {
	for _, s := range all {
		switch t := at(s.runtimes()[handler], "runtime_type"); t {
		case nil:
		case runtimeType:
			path = s.path
		default:
			return "", fmt.Errorf("%s on the node gives the runtime handler %q the type %q, not %q; rename the one or remove it", s.path, handler, t, runtimeType)
		}
	}
	return path, nil
}

// opt is the folder of which containerd puts bin before its PATH, for programs
// such as shims (plugins/services/opt/service.go).
func (all sources) opt() string {
	path := "/opt/containerd"
	for _, s := range all {
		if p, ok := at(s.Plugins, "io.containerd.internal.v1.opt", "path").(string); ok && p != "" {
			path = p
		}
	}
	return path
}
