package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/parts"
)

// registry is an image in a registry. Credentials are those that `docker login`
// keeps; a registry on loopback is spoken to in plain HTTP.
type registry struct {
	ref      name.Reference
	progress io.Writer
}

func (r registry) String() string { return r.ref.String() }

func (r registry) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx),
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithUserAgent("wasm-image"),
	}
}

func (r registry) Read(ctx context.Context) (*Found, error) {
	found, err := r.read(ctx)
	if err != nil {
		return nil, r.explain(err)
	}
	found.Closer = io.NopCloser(nil)
	return found, nil
}

func (r registry) read(ctx context.Context) (*Found, error) {
	found, err := remote.Get(r.ref, r.options(ctx)...)
	if err != nil {
		return nil, err
	}
	if len(found.Manifest) > parts.MaxJSON {
		return nil, fmt.Errorf("its manifest has %d bytes; at most %d are read", len(found.Manifest), parts.MaxJSON)
	}
	if !found.MediaType.IsIndex() {
		img, err := found.Image()
		if err != nil {
			return nil, err
		}
		return &Found{Images: []v1.Image{img}}, checkConfig(img)
	}
	index, err := found.ImageIndex()
	if err != nil {
		return nil, err
	}
	images, err := fromIndex(index, 1, new(visits))
	return &Found{Images: images, Index: true}, err
}

// fromIndex lists the images of an index and the indexes in it.
func fromIndex(index v1.ImageIndex, depth int, seen *visits) ([]v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []v1.Image
	for _, d := range manifest.Manifests {
		if err := seen.one(depth); err != nil {
			return nil, err
		}
		switch {
		case d.MediaType.IsIndex():
			nested, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			more, err := fromIndex(nested, depth+1, seen)
			if err != nil {
				return nil, err
			}
			images = append(images, more...)
		case d.MediaType.IsImage() && !isAttestation(d):
			img, err := index.Image(d.Digest)
			if err != nil {
				return nil, err
			}
			if err := checkConfig(img); err != nil {
				return nil, err
			}
			images = append(images, img)
		}
	}
	return images, nil
}

// checkConfig bounds what the library would read at once.
func checkConfig(img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	if size := manifest.Config.Size; size > parts.MaxJSON {
		return fmt.Errorf("its configuration says that it has %d bytes; at most %d are read", size, parts.MaxJSON)
	}
	return nil
}

func (r registry) Write(ctx context.Context, images []v1.Image) (v1.Hash, error) {
	if _, ok := r.ref.(name.Digest); ok {
		return v1.Hash{}, fmt.Errorf("%s is a digest, which is made of the image; give a tag", r.ref)
	}
	updates := make(chan v1.Update, 16)
	written, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		r.tell(updates, written, time.Second)
	}()
	digest, err := r.write(images, append(r.options(ctx), remote.WithProgress(updates)))
	close(written)
	<-told
	return digest, r.explain(err)
}

func (r registry) write(images []v1.Image, options []remote.Option) (v1.Hash, error) {
	if len(images) == 1 {
		if err := remote.Write(r.ref, images[0], options...); err != nil {
			return v1.Hash{}, err
		}
		return images[0].Digest()
	}
	all, err := index(images)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := remote.WriteIndex(r.ref, all, options...); err != nil {
		return v1.Hash{}, err
	}
	return all.Digest()
}

// tell says at intervals how far an upload is. The library closes updates, but
// not where it fails early.
func (r registry) tell(updates <-chan v1.Update, written <-chan struct{}, interval time.Duration) {
	next := time.Now().Add(interval)
	for {
		select {
		case <-written:
			return
		case u, ok := <-updates:
			if !ok {
				return
			}
			if now := time.Now(); u.Error == nil && !now.Before(next) {
				fmt.Fprintf(r.progress, "pushed %.1f of %.1f MB\n", float64(u.Complete)/1e6, float64(u.Total)/1e6)
				next = now.Add(interval)
			}
		}
	}
}

// explain says what to do about the commonest refusals.
func (r registry) explain(err error) error {
	if err == nil {
		return nil
	}
	remedy := ""
	if refused := (*transport.Error)(nil); errors.As(err, &refused) {
		switch refused.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			remedy = fmt.Sprintf("; log in with `docker login %s`", r.ref.Context().RegistryStr())
		case http.StatusNotFound:
			remedy = "; is it the right name and tag?"
		}
	}
	return fmt.Errorf("%s: %w%s", r.ref, err, remedy)
}
