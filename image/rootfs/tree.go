// Package rootfs writes and reads the tar layers of which a container's root
// file system is made (OCI image specification, layer.md).
package rootfs

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// whiteout begins the names of the files by which a layer removes others.
const whiteout = ".wh."

// Tree is what a layer shall hold. All of it belongs to root; permissions are
// kept, but not the set-user-ID, set-group-ID and sticky bits.
type Tree struct {
	entries map[string]entry // by the path in the container, without the leading slash
	folders map[string]bool  // what has something below it, likewise
}

// entry is a folder, a file or a symbolic link.
type entry struct {
	header tar.Header // Name, Typeflag, Mode, Size and Linkname
	data   []byte     // of a file: its content, unless
	source string     // it is a file of this machine
}

// Empty says whether nothing has been added.
func (t *Tree) Empty() bool { return len(t.entries) == 0 }

// Data adds a file with that content. Its place is absolute.
func (t *Tree) Data(place string, data []byte, mode fs.FileMode) error {
	name, err := nameOf(place)
	if err != nil {
		return err
	}
	return t.add(name, entry{data: data, header: tar.Header{Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: int64(mode.Perm())}})
}

// Copy adds a file of this machine, or a folder with all that it holds. Symbolic
// links in it stay links; source itself may be one and is followed.
func (t *Tree) Copy(source, place string) error {
	root, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	name, err := nameOf(place)
	if err != nil {
		info, statErr := os.Stat(root)
		if place != "/" || statErr != nil || !info.IsDir() {
			return err
		}
		name = "." // the content of a folder may become the root's
	}
	return filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		to := path.Join(name, filepath.ToSlash(below))
		if to == "." {
			return nil
		}
		if strings.HasPrefix(path.Base(to), whiteout) {
			return fmt.Errorf("%s: in an image, a name that begins with %s removes a file; rename it", file, whiteout)
		}
		e, err := entryOf(file, d)
		if err != nil {
			return err
		}
		return t.add(to, e)
	})
}

func entryOf(file string, d fs.DirEntry) (entry, error) {
	info, err := d.Info()
	if err != nil {
		return entry{}, err
	}
	e := entry{source: file, header: tar.Header{Mode: int64(info.Mode().Perm())}}
	switch info.Mode().Type() {
	case 0:
		e.header.Typeflag, e.header.Size = tar.TypeReg, info.Size()
	case fs.ModeDir:
		e.header.Typeflag = tar.TypeDir
	case fs.ModeSymlink:
		e.header.Typeflag, e.header.Mode = tar.TypeSymlink, 0o777
		e.header.Linkname, err = os.Readlink(file)
	default:
		err = fmt.Errorf("%s is neither a file, nor a folder, nor a symbolic link (%v); leave it out", file, info.Mode().Type())
	}
	return e, err
}

// nameOf makes an entry's name of a place in the container.
func nameOf(place string) (string, error) {
	name, absolute := strings.CutPrefix(place, "/")
	switch {
	case !absolute || !fs.ValidPath(name) || name == ".":
		return "", fmt.Errorf("%q is not a place in a container: give an absolute path without . and .. in it, such as /etc/app.conf", place)
	case strings.HasPrefix(path.Base(name), whiteout):
		return "", fmt.Errorf("%q: in an image, a name that begins with %s removes a file", place, whiteout)
	}
	return name, nil
}

// add refuses what no file system could hold: two things in one place, or
// something below what is no folder. Folders above are made.
func (t *Tree) add(name string, e entry) error {
	if t.entries == nil {
		t.entries, t.folders = map[string]entry{}, map[string]bool{}
	}
	there, taken := t.entries[name]
	switch isFolder := e.header.Typeflag == tar.TypeDir; {
	case taken && !(isFolder && there.header.Typeflag == tar.TypeDir):
		return fmt.Errorf("/%s is added twice", name)
	case t.folders[name] && !isFolder:
		return fmt.Errorf("/%s cannot be added: there is a folder already", name)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if above, ok := t.entries[dir]; ok && above.header.Typeflag != tar.TypeDir {
			return fmt.Errorf("/%s cannot be added: /%s is no folder", name, dir)
		}
		t.folders[dir] = true
	}
	e.header.Name = name
	t.entries[name] = e
	return nil
}

// withParents lists the entries by name, folders before what is in them.
func (t *Tree) withParents() []entry {
	all := maps.Clone(t.entries)
	for dir := range t.folders {
		if _, ok := all[dir]; !ok {
			all[dir] = entry{header: tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}}
		}
	}
	var entries []entry
	for _, name := range slices.Sorted(maps.Keys(all)) {
		entries = append(entries, all[name])
	}
	return entries
}

// Clone copies a tree, so that more can be added to the copy alone.
func (t *Tree) Clone() *Tree {
	return &Tree{entries: maps.Clone(t.entries), folders: maps.Clone(t.folders)}
}
