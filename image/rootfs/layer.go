package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
)

// Layer packs the tree into a compressed layer, which it holds in memory, and
// tells the digest of the layer uncompressed, the configuration's diff_id. All
// of it is dated mtime; equal trees give equal bytes.
func (t *Tree) Layer(mtime time.Time) (layer *parts.Blob, diffID v1.Hash, err error) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	sum := sha256.New()
	out := tar.NewWriter(io.MultiWriter(zip, sum))
	for _, e := range t.withParents() {
		if err := e.write(out, mtime); err != nil {
			return nil, v1.Hash{}, err
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		return nil, v1.Hash{}, err
	}
	diffID = v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sum.Sum(nil))}
	return parts.Bytes(types.OCILayer, packed.Bytes()), diffID, nil
}

func (e entry) write(out *tar.Writer, mtime time.Time) error {
	header := e.header
	header.ModTime = mtime
	if header.Typeflag == tar.TypeDir {
		header.Name += "/"
	}
	if err := out.WriteHeader(&header); err != nil {
		return fmt.Errorf("/%s: %w", e.header.Name, err)
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	content := io.Reader(bytes.NewReader(e.data))
	if e.source != "" {
		f, err := os.Open(e.source)
		if err != nil {
			return err
		}
		defer f.Close()
		content = f
	}
	n, err := io.Copy(out, content)
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != header.Size {
		return fmt.Errorf("%s changed while it was read; try again", e.source)
	}
	return err
}
