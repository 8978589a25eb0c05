package oci

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	containersAPI "github.com/containerd/containerd/api/services/containers/v1"
	contentAPI "github.com/containerd/containerd/api/services/content/v1"
	imagesAPI "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// maxMessage bounds a message of containerd's, in bytes: what containerd's own
// clients take. The largest is the record of a container, with its spec.
const maxMessage = 16 << 20

// Images reads what containerd keeps of containers and images, over its gRPC
// socket. It only reads, but for View. It may be used by many at a time.
type Images struct {
	namespace  string
	maxModule  int64
	conn       *grpc.ClientConn
	containers containersAPI.ContainersClient
	images     imagesAPI.ImagesClient
	content    contentAPI.ContentClient
}

// NewImages makes ready to read containerd's namespace at a socket, whose path
// containerd tells the shim. Layers of more than maxModule bytes are refused. It
// does not connect: the first question does. The caller closes it.
func NewImages(address, namespace string, maxModule int64) (*Images, error) {
	conn, err := grpc.NewClient("unix:"+strings.TrimPrefix(address, "unix://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", quote(address), err)
	}
	return &Images{
		namespace:  namespace,
		maxModule:  maxModule,
		conn:       conn,
		containers: containersAPI.NewContainersClient(conn),
		images:     imagesAPI.NewImagesClient(conn),
		content:    contentAPI.NewContentClient(conn),
	}, nil
}

// Close ends the connection, and what is under way on it.
func (i *Images) Close() error { return i.conn.Close() }

// in is ctx for a call in the namespace.
func (i *Images) in(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", i.namespace)
}

// image is an image as containerd's image store has it.
type image struct {
	name      string
	target    v1.Descriptor
	updatedAt time.Time
	pinned    bool // the name has the digest
}

// String names the image in messages.
func (i image) String() string {
	return fmt.Sprintf("image %s (%s)", quote(i.name), shown(i.target.Digest))
}

// image looks a reference up. The error is NotFound where there is none.
func (i *Images) image(ctx context.Context, name string) (image, error) {
	response, err := i.images.Get(i.in(ctx), &imagesAPI.GetImageRequest{Name: name})
	if err != nil {
		return image{}, fmt.Errorf("image %s: %w", quote(name), errgrpc.ToNative(err))
	}
	target := response.GetImage().GetTarget()
	img := image{
		name: name,
		target: v1.Descriptor{
			MediaType: target.GetMediaType(),
			Digest:    digest.Digest(target.GetDigest()),
			Size:      target.GetSize(),
		},
		updatedAt: response.GetImage().GetUpdatedAt().AsTime(),
	}
	// A reference by digest means that digest, whatever its record says.
	_, hash, _ := strings.Cut(name, "@")
	if d, err := digest.Parse(hash); err == nil {
		img.pinned = d == img.target.Digest
		if !img.pinned {
			return image{}, fmt.Errorf("%v: its name is of another digest; remove the image and pull it again: %w", img, errdefs.ErrFailedPrecondition)
		}
	}
	return img, nil
}

// blob reads a small blob whole; its errors are read's, or say what is wrong with
// the descriptor.
func (i *Images) blob(ctx context.Context, d v1.Descriptor, most int64) ([]byte, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	if d.Size < 0 || d.Size > most {
		return nil, fmt.Errorf("%d bytes; it may have %d: %w", d.Size, most, errdefs.ErrInvalidArgument)
	}
	data := make([]byte, 0, d.Size)
	err := i.read(ctx, d, func(chunk []byte) error {
		data = append(data, chunk...)
		return nil
	})
	return data, err
}

// read hands a blob over in chunks of 1 MiB at most, and verifies its size and,
// at the end, its digest, which must be a valid one. The error is NotFound where
// there is no such blob, and DataLoss where it is damaged.
func (i *Images) read(ctx context.Context, d v1.Descriptor, take func(chunk []byte) error) error {
	ctx, cancel := context.WithCancel(i.in(ctx))
	defer cancel()
	// One byte more than it should have tells whether it has more.
	stream, err := i.content.Read(ctx, &contentAPI.ReadContentRequest{Digest: string(d.Digest), Size: d.Size + 1})
	if err != nil {
		return errgrpc.ToNative(err)
	}
	verifier := d.Digest.Verifier()
	for left := d.Size; ; {
		response, err := stream.Recv()
		switch {
		case err == io.EOF && left > 0:
			return fmt.Errorf("%d bytes in containerd's content store instead of %d: %w", d.Size-left, d.Size, errdefs.ErrDataLoss)
		case err == io.EOF && !verifier.Verified():
			return fmt.Errorf("damaged: it has another digest in containerd's content store: %w", errdefs.ErrDataLoss)
		case err == io.EOF:
			return nil
		case err != nil:
			return errgrpc.ToNative(err)
		}
		if left -= int64(len(response.Data)); left < 0 {
			return fmt.Errorf("more bytes in containerd's content store than %d: %w", d.Size, errdefs.ErrDataLoss)
		}
		verifier.Write(response.Data)
		if err := take(response.Data); err != nil {
			return err
		}
	}
}

// explain adds to read's error what to do about it.
func (i *Images) explain(image string, err error) error {
	remedy := fmt.Sprintf("remove the image and pull it again (by ctr: ctr --namespace %s image pull --all-platforms %s)", quote(i.namespace), quote(image))
	switch {
	case errdefs.IsNotFound(err):
		return fmt.Errorf("not in containerd's content store; %s: %w", remedy, errdefs.ErrFailedPrecondition)
	case errdefs.IsDataLoss(err):
		return fmt.Errorf("%w; %s", err, remedy)
	}
	return err
}
