package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
)

// headers are the entries of a layer.
func headers(t *testing.T, layer *parts.Blob) []*tar.Header {
	t.Helper()
	content, err := v1Layer(t, layer).Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var all []*tar.Header
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
}

func v1Layer(t *testing.T, layer *parts.Blob) v1.Layer {
	t.Helper()
	l, err := partial.CompressedToLayer(layer)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// packed makes a layer of entries that no Tree would hold; a name that ends with
// a slash is a folder's, and a text after "->" a symbolic link's target.
func packed(t *testing.T, entries ...string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		name, content, _ := strings.Cut(e, "=")
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content))}
		if link, target, ok := strings.Cut(e, "->"); ok {
			h, content = &tar.Header{Name: link, Typeflag: tar.TypeSymlink, Linkname: target}, ""
		} else if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content)
	}
	w.Close()
	return v1Layer(t, parts.Bytes(types.OCIUncompressedLayer, b.Bytes()))
}

func write(t *testing.T, file, text string, mode fs.FileMode) {
	t.Helper()
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600), os.Chmod(file, mode))
	if err != nil {
		t.Fatal(err)
	}
}

func TestLayer(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/etc/app.conf", "x=1\n", 0o640|fs.ModeSetuid)
	write(t, dir+"/bin/tool", "#!", 0o755)
	if err := errors.Join(os.Symlink("../bin/tool", dir+"/etc/tool"), os.Mkdir(dir+"/empty", 0o700)); err != nil {
		t.Fatal(err)
	}
	date := time.Unix(1700000000, 0)
	build := func() (*parts.Blob, v1.Hash) {
		var tree Tree
		if err := errors.Join(tree.Data("/srv/app.wasm", []byte("module"), 0o755), tree.Copy(dir, "/"), tree.Copy(dir+"/etc", "/opt/etc")); err != nil {
			t.Fatal(err)
		}
		layer, diffID, err := tree.Layer(date)
		if err != nil {
			t.Fatal(err)
		}
		return layer, diffID
	}
	layer, diffID := build()
	var got []string
	for _, h := range headers(t, layer) {
		got = append(got, fmt.Sprintf("%s %o %c%s", h.Name, h.Mode, h.Typeflag, h.Linkname))
		if !h.ModTime.Equal(date) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s is dated %v and belongs to %d:%d %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
	}
	want := []string{
		"bin/ 755 5", "bin/tool 755 0", "empty/ 700 5",
		"etc/ 755 5", "etc/app.conf 640 0", "etc/tool 777 2../bin/tool",
		"opt/ 755 5", "opt/etc/ 755 5", "opt/etc/app.conf 640 0", "opt/etc/tool 777 2../bin/tool",
		"srv/ 755 5", "srv/app.wasm 755 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if d, err := v1Layer(t, layer).DiffID(); err != nil || d != diffID {
		t.Errorf("the diff id is %v (%v), not %v", d, err, diffID)
	}
	// The time and the owner of the sources do not matter.
	later := time.Now().Add(time.Hour)
	if err := errors.Join(os.Chtimes(dir+"/bin/tool", later, later), os.Chown(dir+"/bin/tool", 1000, 1000)); err != nil {
		t.Fatal(err)
	}
	if again, _ := build(); again.Descriptor.Digest != layer.Descriptor.Digest {
		t.Error("the same files gave another digest")
	}
}

func TestTreeRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "x", 0o644)
	write(t, dir+"/white/.wh.passwd", "", 0o644)
	if err := errors.Join(unix.Mkfifo(dir+"/fifo", 0o600), os.Symlink("/nothing", dir+"/dangling")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, source, place, want string
	}{
		{"relative", "file", "etc/x", "absolute path"},
		{"up", "file", "/../etc/x", "without . and .."},
		{"up within", "file", "/a/../../x", "without . and .."},
		{"dot", "file", "/./x", "without . and .."},
		{"root", "file", "/", "absolute path"},
		{"trailing slash", "file", "/x/", "absolute path"},
		{"whiteout", "file", "/etc/.wh.passwd", "removes a file"},
		{"whiteout within", "white", "/etc", "removes a file"},
		{"fifo", "fifo", "/x", "neither a file, nor a folder"},
		{"missing", "nowhere", "/x", "no such file"},
		{"dangling", "dangling", "/x", "no such file"},
		{"twice", "file", "/app.wasm", "/app.wasm is added twice"},
		{"below a file", "file", "/app.wasm/x", "/app.wasm is no folder"},
		{"over a folder", "file", "/srv", "there is a folder already"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tree Tree
			if err := errors.Join(tree.Data("/app.wasm", nil, 0o755), tree.Data("/srv/x", nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			if err := tree.Copy(filepath.Join(dir, c.source), c.place); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// A source that grows or shrinks while it is packed is not packed wrongly.
func TestLayerOfChangedFile(t *testing.T) {
	for _, text := range []string{"longer than it was", ""} {
		file := filepath.Join(t.TempDir(), "f")
		write(t, file, "as it was", 0o644)
		var tree Tree
		if err := tree.Copy(file, "/f"); err != nil {
			t.Fatal(err)
		}
		write(t, file, text, 0o644)
		if _, _, err := tree.Layer(time.Unix(0, 0)); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("got %v", err)
		}
	}
}

func TestFiles(t *testing.T) {
	lower := packed(t, "a/", "a/old=lower", "a/gone=x", "dir/", "dir/one=1", "opaque/", "opaque/x=x", "file/", "file/below=x",
		"link->a/old", "abs->/a/old", "up->../../a/old", "loop->loop", "chain->dirlink/one", "dirlink->dir", "../../escaped=e")
	upper := packed(t, "a/.wh.gone=", "a/old=upper", "opaque/.wh..wh..opq=", "opaque/new=n", ".wh.dir=", "file=now a file", "dup=first", "dup=second")
	files, err := Read([]v1.Layer{lower, upper})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/a/old", "/abs", "/chain", "/dirlink", "/dup", "/escaped", "/file", "/link", "/loop", "/opaque/new", "/up"}; !slices.Equal(files.List(), want) {
		t.Errorf("got  %q\nwant %q", files.List(), want)
	}
	for place, want := range map[string]string{
		"/a/old": "upper", "/link": "upper", "/abs": "upper", "/up": "upper", "/a/../a/./old": "upper",
		"/file": "now a file", "/dup": "second", "/escaped": "e",
	} {
		data, at, err := files.Open(place, 100)
		if err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", place, data, err)
		}
		if place == "/link" && at != "/a/old" {
			t.Errorf("%s is at %s", place, at)
		}
	}
	for place, want := range map[string]string{
		"/a/gone": "file does not exist", "/dir/one": "file does not exist", "/opaque/x": "file does not exist", "/chain": "file does not exist",
		"/loop": "more than 40 symbolic links", "/a": "is a folder",
	} {
		if _, _, err := files.Open(place, 100); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", place, err, want)
		}
	}
	if _, _, err := files.Open("/a/old", 3); err == nil || !strings.Contains(err.Error(), "at most 3 are read") {
		t.Errorf("a file that is too big: %v", err)
	}
}

// endless is a gzip stream of that many zeros after a file's header.
func endless(t *testing.T, size int64) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	if err := w.WriteHeader(&tar.Header{Name: "bomb", Typeflag: tar.TypeReg, Size: size}); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for left := size; left > 0; left -= int64(len(zeros)) {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	zip.Close()
	return v1Layer(t, parts.Bytes(types.OCILayer, b.Bytes()))
}

func TestReadIsBounded(t *testing.T) {
	bomb := endless(t, 8<<20)
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("f%d=", i))
	}
	for _, c := range []struct {
		name    string
		layer   v1.Layer
		content int64
		entries int
		want    string
	}{
		{"content", bomb, 4 << 20, 10, "unpack to more than 4194304 bytes"},
		{"entries", packed(t, many...), 4 << 20, 999, "more than 999 files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read([]v1.Layer{c.layer}, bounds{c.content, c.entries})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := read([]v1.Layer{bomb}, bounds{9 << 20, 1}); err != nil {
		t.Errorf("what is within the bounds: %v", err)
	}
}

func TestReadNoLayers(t *testing.T) {
	for name, data := range map[string][]byte{"text": []byte(strings.Repeat("no tar archive ", 100)), "cut off": []byte("\x1f\x8b\x08\x00")} {
		layer := v1Layer(t, parts.Bytes(types.OCILayer, data))
		if _, err := Read([]v1.Layer{layer}); err == nil || !strings.Contains(err.Error(), "layer 1 of 1: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
