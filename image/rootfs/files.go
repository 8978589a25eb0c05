package rootfs

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// bounds of what is read of an image that somebody else made.
type bounds struct {
	content int64 // of all layers, uncompressed, in bytes
	entries int   // of all layers
}

var sensible = bounds{content: 4 << 30, entries: 1 << 18}

// maxLinks bounds the symbolic links in one path, as Linux does.
const maxLinks = 40

// Files are the files of a container whose root file system the layers make,
// the lowest first.
type Files struct {
	layers []v1.Layer
	found  map[string]file // by the path, without the leading slash
	bounds bounds
}

type file struct {
	layer int
	kind  byte   // as tar has it
	link  string // of a symbolic or a hard link
	size  int64
}

// Read looks through the layers; it extracts nothing.
func Read(layers []v1.Layer) (*Files, error) { return read(layers, sensible) }

func read(layers []v1.Layer, within bounds) (*Files, error) {
	f := &Files{layers: layers, found: map[string]file{}, bounds: within}
	left, entries := within.content, 0
	for i := range layers {
		removed := map[string]bool{} // what the layer takes from those below
		added := map[string]file{}
		err := f.walk(i, &left, func(h *tar.Header, name string, _ io.Reader) error {
			if entries++; entries > within.entries {
				return fmt.Errorf("the image has more than %d files", within.entries)
			}
			dir, base := path.Split(name)
			switch hidden, isWhiteout := strings.CutPrefix(base, whiteout); {
			case base == whiteout+whiteout+".opq":
				removed[dir] = true
			case isWhiteout:
				removed[dir+hidden] = true
			default:
				added[name] = file{layer: i, kind: h.Typeflag, link: h.Linkname, size: h.Size}
				if h.Typeflag != tar.TypeDir {
					removed[name+"/"] = true
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
		f.remove(removed)
		maps.Copy(f.found, added)
	}
	return f, nil
}

// walk calls visit with every entry of a layer and its clean name. left is what
// may still be read, in bytes.
func (f *Files) walk(layer int, left *int64, visit func(h *tar.Header, name string, content io.Reader) error) error {
	content, err := f.layers[layer].Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	bounded := &bounded{content, left, f.bounds.content}
	for r := tar.NewReader(bounded); ; {
		h, err := r.Next()
		if err == io.EOF {
			// The rest is read for its digest.
			_, err := io.Copy(io.Discard, bounded)
			return err
		}
		if err != nil {
			return err
		}
		if name := strings.TrimPrefix(path.Join("/", h.Name), "/"); name != "" {
			if err := visit(h, name, r); err != nil {
				return err
			}
		}
	}
}

// remove takes away what a whiteout names, with what is below it. A name with a
// slash at its end is an opaque folder's: what is below goes, the folder stays.
func (f *Files) remove(names map[string]bool) {
	if len(names) == 0 {
		return
	}
	maps.DeleteFunc(f.found, func(name string, _ file) bool {
		if names[name] {
			return true
		}
		for i, c := range name {
			if c == '/' && (names[name[:i]] || names[name[:i+1]]) {
				return true
			}
		}
		return names[""] // the root is opaque
	})
}

// List names all files that are no folders, absolute and sorted.
func (f *Files) List() []string {
	var names []string
	for name, file := range f.found {
		if file.kind != tar.TypeDir {
			names = append(names, "/"+name)
		}
	}
	slices.Sort(names)
	return names
}

// Open finds a file, following symbolic links within the container, and reads
// up to limit bytes of it. The path that it returns is where the file is.
func (f *Files) Open(place string, limit int64) (data []byte, at string, err error) {
	name, file, err := f.resolve(place)
	if err != nil {
		return nil, "", err
	}
	if file.kind == tar.TypeDir {
		return nil, "", fmt.Errorf("%s is a folder", place)
	}
	if file.kind != tar.TypeReg {
		return nil, "", fmt.Errorf("%s is not a regular file", place)
	}
	if file.size > limit {
		return nil, "", fmt.Errorf("%s has %d bytes; at most %d are read", place, file.size, limit)
	}
	left := f.bounds.content
	err = f.walk(file.layer, &left, func(h *tar.Header, entry string, content io.Reader) (err error) {
		if entry == name && h.Typeflag == tar.TypeReg {
			// The last of that name counts; its size was looked at, that of others not.
			data, err = io.ReadAll(io.LimitReader(content, limit))
		}
		return err
	})
	return data, "/" + name, err
}

// resolve follows symbolic links as the kernel does in a container, where the
// root is its own parent.
func (f *Files) resolve(place string) (string, file, error) {
	rest := strings.Split(place, "/")
	at, links := "", 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = strings.TrimPrefix(path.Dir("/"+at), "/")
			continue
		}
		at = path.Join(at, part)
		found, ok := f.found[at]
		switch {
		case ok && found.kind == tar.TypeSymlink:
			if links++; links > maxLinks {
				return "", file{}, fmt.Errorf("%s: more than %d symbolic links", place, maxLinks)
			}
			rest = append(strings.Split(found.link, "/"), rest...)
			if path.IsAbs(found.link) {
				at = ""
			} else {
				at = strings.TrimPrefix(path.Dir("/"+at), "/")
			}
		case !ok && len(rest) == 0:
			return "", file{}, fmt.Errorf("%s: %w", place, fs.ErrNotExist)
		}
	}
	found := f.found[at]
	if found.kind == tar.TypeLink {
		at = strings.TrimPrefix(path.Join("/", found.link), "/")
		found = f.found[at]
	}
	return at, found, nil
}

// bounded is a reader that refuses to read more than what is left of most bytes.
type bounded struct {
	io.Reader
	left *int64
	most int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if *b.left -= int64(n); *b.left < 0 {
		return n, fmt.Errorf("the layers unpack to more than %d bytes, which is more than is read", b.most)
	}
	return n, err
}
