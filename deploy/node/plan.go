package node

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/deploy/containerd"
)

// edit is what gives containerd the runtime: a file of the installer's own, or a
// block at the end of another. Without a path, it has it already.
type edit struct {
	path string
	own  bool
	text string
}

// form is the runtime's settings for one version of the configuration.
type form struct {
	head string // comment and version
	runc string // the runtime of ordinary pods, where it has to be said
	wasm string
}

// formFor takes the file for a version apart, whose paragraphs are those.
func formFor(version int) form {
	if version >= 3 {
		head, wasm, _ := strings.Cut(containerd.V3, "\n\n")
		return form{head: head + "\n\n", wasm: wasm}
	}
	head, rest, _ := strings.Cut(containerd.V2, "\n\n")
	runc, wasm, _ := strings.Cut(rest, "\n\n")
	return form{head: head + "\n\n", runc: runc + "\n\n", wasm: wasm}
}

// plan decides where the runtime goes. major is that of containerd's release.
//
// Where containerd imports a folder and merges what is in it, as it does from 2.0
// on (containerd/containerd#9982), it is a file in that folder. A configuration of
// version 2 is not taken for a merged one: the release may be 1.7, which takes the
// CRI section of the last file that has one, and forgets those of the others. So
// there, and where nothing is imported, it is a block at the end of that file.
func plan(h host, d distribution, r *record, major int) (edit, sources, error) {
	if d.managed != nil && d.managed(h) {
		version := 2
		if major >= 2 {
			version = 3
		}
		f := formFor(version)
		return edit{path: d.dropIn, own: true, text: f.head + f.wasm}, nil, nil
	}
	all, err := load(h, d.config, r)
	if err != nil {
		return edit{}, nil, err
	}
	e, err := all.plan(major)
	if err == nil && d.template != nil && e.path == d.config {
		e.path, e.text, err = d.template(h, all[0], e.text)
	}
	return e, all, err
}

func (all sources) plan(major int) (edit, error) {
	main := all[0]
	if path, err := all.byHand(); err != nil || path != "" {
		return edit{}, err
	}
	version := main.Version
	switch {
	case main.empty && major >= 2:
		version = 3
	case main.empty:
		version = 2
	case version < 2:
		return edit{}, fmt.Errorf("%s on the node has the version %d, which knows no CRI plugin; write `containerd config migrate` of it, or set version = 2", main.path, version)
	}
	f := formFor(version)
	if version >= 3 {
		f.runc = "" // merged with the default
	}
	dropIn, imported := main.dropIn()
	last, found := all.lastWord()
	if found && version == 2 {
		if runtimes, _ := at(last.Plugins, section(2), "containerd", "runtimes").(map[string]any); len(runtimes) > 0 {
			f.runc = ""
		}
	}
	switch {
	case imported && (version >= 3 || !found):
		return edit{path: dropIn, own: true, text: f.head + f.runc + f.wasm}, nil
	case main.empty:
		return edit{path: main.path, text: fmt.Sprintf("version = %d\n\n", version) + f.runc + f.wasm}, nil
	case found && version == 2:
		return edit{path: last.path, text: f.runc + f.wasm}, nil
	default:
		return edit{path: main.path, text: f.runc + f.wasm}, nil
	}
}

// apply makes the edit, and takes back an earlier one for another file. It says
// whether the configuration is another one now.
func (e edit) apply(r *record) (changed bool, err error) {
	stale := func(c change) bool { return c.Config && c.Path != e.path }
	for _, c := range r.Changes {
		changed = changed || stale(c)
	}
	if err := r.undo(stale); err != nil || e.path == "" {
		return changed, err
	}
	var done bool
	if e.own {
		done, err = r.put(e.path, []byte(e.text), 0o644, true)
	} else {
		done, err = r.insert(e.path, e.text)
	}
	return changed || done, err
}

// check parses the file as the edit would leave it.
func (e edit) check(h host) error {
	if e.path == "" || e.own || filepath.Ext(e.path) == ".tmpl" {
		return nil
	}
	data, err := h.read(e.path)
	if err != nil {
		return err
	}
	if _, err := parse(e.path, withBlock(data, e.text)); err != nil {
		return fmt.Errorf("the runtime's tables cannot be added at the end of %s on the node, probably because a table above them is written in braces; write that as [tables]: %w", e.path, err)
	}
	return nil
}
