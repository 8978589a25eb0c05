package node

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree is what is in a folder: files by their path, "-> " before where a link
// leads, nil after a folder's slash.
type tree map[string]string

// plant makes a node's root file system of it.
func (t tree) plant(test *testing.T) host {
	test.Helper()
	root, err := os.MkdirTemp("", "node") // whose name is short enough for sockets
	if err != nil {
		test.Fatal(err)
	}
	test.Cleanup(func() { os.RemoveAll(root) })
	if err := os.MkdirAll(filepath.Join(root, "var/lib"), 0o755); err != nil {
		test.Fatal(err)
	}
	for path, content := range t {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			test.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, full)
		} else if strings.HasSuffix(path, "/") {
			err = os.MkdirAll(full, 0o755)
		} else {
			err = os.WriteFile(full, []byte(content), 0o640)
		}
		if err != nil {
			test.Fatal(err)
		}
	}
	return host(root)
}

// look reads everything of a node's root file system, permissions too.
func look(t *testing.T, h host) tree {
	t.Helper()
	found := tree{}
	err := filepath.WalkDir(string(h), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := info.Mode().String()
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			content += " -> " + target
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content += "\n" + string(data)
		}
		found[h.own(path)] = content
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// same compares two looks at a node.
func same(t *testing.T, was, is tree) {
	t.Helper()
	paths := maps.Clone(was)
	maps.Copy(paths, is)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if was[path] != is[path] {
			t.Errorf("%s was\n%s\nand is\n%s", path, was[path], is[path])
		}
	}
}

// serve has somebody answer at a socket of the node's.
func serve(t *testing.T, h host, socket string) {
	t.Helper()
	path, err := h.path(socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
}

// contains fails unless every part is in the text.
func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %s:\n%s", part, what, text)
		}
	}
}

func fresh(t *testing.T, h host) *record {
	t.Helper()
	r, err := readRecord(h)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func errorText(err error) string { return fmt.Sprint(err) }
