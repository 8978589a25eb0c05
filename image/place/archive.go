package place

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
)

// archive is a tar file with an OCI image layout, and a description for Docker's
// older image store.
type archive struct {
	file, image, text string
	out               io.Writer // where it goes if file is pipe
}

// pipe is the file that is no file.
const pipe = "-"

func (a archive) String() string { return a.text }

// maxFiles bounds the files of an archive that somebody else made.
const maxFiles = 1 << 16

func (a archive) Read(context.Context) (*Found, error) {
	if a.file == pipe {
		return nil, fmt.Errorf("%s: an archive is read in no particular order, which a pipe does not allow; give a file", a)
	}
	f, err := os.Open(a.file)
	if err != nil {
		return nil, err
	}
	found, err := a.read(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", a, err)
	}
	found.Closer = f
	return found, nil
}

func (a archive) read(f *os.File) (*Found, error) {
	s, err := contents(f)
	if err != nil {
		return nil, err
	}
	if _, ok := s.at[indexFile]; ok {
		return find(s, a.image)
	}
	if manifest, ok := s.at[dockerFile]; !ok || manifest.Size() > parts.MaxJSON {
		return nil, errors.New("it is no archive of an image: there is neither an index.json (OCI) nor a manifest.json (Docker) of a sensible size")
	}
	img, err := fromDocker(f, s, a.image)
	if err != nil {
		return nil, err
	}
	return &Found{Images: []v1.Image{img}}, nil
}

// sections is a store: where the files are in an archive.
type sections struct {
	at map[string]*io.SectionReader
}

func (s sections) open(name string) (io.ReadCloser, int64, error) {
	content, ok := s.at[name]
	if !ok {
		return nil, 0, os.ErrNotExist
	}
	return io.NopCloser(io.NewSectionReader(content, 0, content.Size())), content.Size(), nil
}

// contents looks through an archive for its files.
func contents(f *os.File) (sections, error) {
	s := sections{map[string]*io.SectionReader{}}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		switch {
		case err == io.EOF:
			return s, nil
		case errors.Is(err, tar.ErrHeader):
			return s, errors.New("it is no tar archive; a compressed one must be unpacked first (gunzip, zstd -d)")
		case err != nil:
			return s, err
		case len(s.at) == maxFiles:
			return s, fmt.Errorf("it has more than %d files", maxFiles)
		case h.Typeflag != tar.TypeReg:
			continue
		}
		// The reader has read the header and nothing of what follows it.
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return s, err
		}
		s.at[path.Clean(h.Name)] = io.NewSectionReader(f, offset, h.Size)
	}
}

// Write makes the archive anew. The time of everything in it is the epoch.
func (a archive) Write(ctx context.Context, images []v1.Image) (v1.Hash, error) {
	if a.image == "" {
		return v1.Hash{}, fmt.Errorf("%s: an archive's image needs the name that it shall have where it is loaded: %s@example.org/app:1", a, a)
	}
	e, err := newEntry(images, a.image)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("%s: %w", a, err)
	}
	if err := a.write(ctx, images[0], e); err != nil {
		return v1.Hash{}, fmt.Errorf("%s: %w", a, err)
	}
	return e.descriptor.Digest, nil
}

func (a archive) write(ctx context.Context, first v1.Image, e entry) error {
	if a.file == pipe {
		return e.pack(ctx, a.out, first, a.image)
	}
	// Whatever is there is replaced, which devices and links had better not be.
	if info, err := os.Lstat(a.file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file; for the standard output, write tar:-@%s", a.file, a.image)
	}
	f, err := os.CreateTemp(filepath.Dir(a.file), filepath.Base(a.file)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(e.pack(ctx, f, first, a.image), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), a.file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// pack writes the files of an archive.
func (e entry) pack(ctx context.Context, out io.Writer, first v1.Image, image string) error {
	w := tar.NewWriter(out)
	for _, b := range e.blobs {
		content, err := b.Compressed()
		if err != nil {
			return err
		}
		err = errors.Join(pack(w, blobs+b.Descriptor.Digest.Hex, content, b.Descriptor.Size), content.Close(), ctx.Err())
		if err != nil {
			return err
		}
	}
	index, err := withEntry(nil, e)
	if err != nil {
		return err
	}
	docker, err := forDocker(first, image)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{layoutFile, []byte(layoutContent)}, {indexFile, index}, {dockerFile, docker}} {
		if f.data == nil {
			continue
		}
		if err := pack(w, f.name, bytes.NewReader(f.data), int64(len(f.data))); err != nil {
			return err
		}
	}
	return w.Close()
}

func pack(w *tar.Writer, name string, content io.Reader, size int64) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(w, content)
	return err
}
