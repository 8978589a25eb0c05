package arrivals

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// source is where one image comes from.
type source struct {
	name     string // in the registry
	archive  string // a file, which has the image by the same name
	text     string // what its module writes
	platform string // the one of its images that shall run
}

// serve runs a registry on loopback and returns its host and port.
func serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// publish writes an image to a file and into the registry at host, byte by byte
// the same.
func publish(t *testing.T, host, repository string, f form) source {
	t.Helper()
	img := f.image
	img.Name = host + "/" + repository + ":1"
	var archive bytes.Buffer
	if err := image.Write(&archive, img); err != nil {
		t.Fatal(err)
	}
	of := f.chosen()
	s := source{
		name:     img.Name,
		text:     f.text(),
		archive:  filepath.Join(t.TempDir(), "image.tar"),
		platform: of.Platform.OS + "/" + of.Platform.Architecture,
	}
	if err := os.WriteFile(s.archive, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}

	files := map[string][]byte{} // by base name, which of a blob is its hash
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			files[path.Base(h.Name)], err = io.ReadAll(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	p := push{url: "http://" + host + "/v2/" + repository, files: files}
	for hash := range files {
		if err := p.blob(hash); err != nil {
			t.Fatal(err)
		}
	}
	var index v1.Index
	if err := json.Unmarshal(files[v1.ImageIndexFile], &index); err != nil {
		t.Fatal(err)
	}
	if err := p.manifest(index.Manifests[0], "1"); err != nil {
		t.Fatal(err)
	}
	return s
}

// push speaks the OCI distribution specification.
type push struct {
	url   string // of the repository
	files map[string][]byte
}

func (p push) blob(hash string) error {
	if strings.Contains(hash, ".") || hash == v1.ImageLayoutFile {
		return nil // which is no blob
	}
	return p.send("POST", "/blobs/uploads/?digest=sha256:"+hash, "application/octet-stream", p.files[hash])
}

// manifest sends what an index lists before the index.
func (p push) manifest(d v1.Descriptor, reference string) error {
	data := p.files[d.Digest.Encoded()]
	if d.MediaType == v1.MediaTypeImageIndex {
		var index v1.Index
		if err := json.Unmarshal(data, &index); err != nil {
			return err
		}
		for _, m := range index.Manifests {
			if err := p.manifest(m, m.Digest.String()); err != nil {
				return err
			}
		}
	}
	return p.send("PUT", "/manifests/"+reference, d.MediaType, data)
}

func (p push) send(method, path, mediaType string, data []byte) error {
	r, err := http.NewRequest(method, p.url+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", mediaType)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return nil
}
