package place

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// layout is a folder of the OCI image layout.
type layout struct{ dir, image, text string }

func (l layout) String() string { return l.text }

func (l layout) Read(context.Context) (*Found, error) {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return nil, err
	}
	found, err := find(folder{root}, l.image)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("%s: %w", l, err)
	}
	found.Closer = root
	return found, nil
}

// folder is a store that no symbolic link leads out of.
type folder struct{ *os.Root }

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	// Without O_NONBLOCK a FIFO would be waited for.
	file, err := f.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// Write makes the folder, or adds to what is in it. index.json changes last and
// at once, so that the images of a reader are always whole.
func (l layout) Write(ctx context.Context, images []v1.Image) (v1.Hash, error) {
	digest, err := l.write(ctx, images)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("%s: %w", l, err)
	}
	return digest, nil
}

func (l layout) write(ctx context.Context, images []v1.Image) (v1.Hash, error) {
	e, err := newEntry(images, l.image)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return v1.Hash{}, err
	}
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return v1.Hash{}, err
	}
	defer root.Close()
	old, err := existing(root)
	if err != nil {
		return v1.Hash{}, err
	}
	index, err := withEntry(old, e)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := root.MkdirAll(path.Clean(blobs), 0o755); err != nil {
		return v1.Hash{}, err
	}
	for _, b := range e.blobs {
		content, err := b.Compressed()
		if err != nil {
			return v1.Hash{}, err
		}
		err = errors.Join(writeFile(root, blobs+b.Descriptor.Digest.Hex, content), content.Close(), ctx.Err())
		if err != nil {
			return v1.Hash{}, err
		}
	}
	err = writeFile(root, layoutFile, bytes.NewReader([]byte(layoutContent)))
	if err == nil {
		err = writeFile(root, indexFile, bytes.NewReader(index))
	}
	return e.descriptor.Digest, err
}

// existing lists the images of a layout that is there already, and refuses to
// write into a folder that is something else.
func existing(root *os.Root) ([]v1.Descriptor, error) {
	there, err := fs.ReadDir(root.FS(), ".")
	if err != nil || len(there) == 0 {
		return nil, err
	}
	if _, err := root.Stat(layoutFile); err != nil {
		return nil, errors.New("the folder is not empty, and no OCI image layout; give another")
	}
	return entries(folder{root})
}

// writeFile writes a file under another name first.
func writeFile(root *os.Root, name string, content io.Reader) error {
	temporary := fmt.Sprintf("%s.%d", name, os.Getpid())
	f, err := root.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		root.Remove(temporary)
	}
	return err
}
