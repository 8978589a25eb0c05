package oci

import (
	"context"
	"errors"
	"fmt"
	"time"

	leasesAPI "github.com/containerd/containerd/api/services/leases/v1"
	snapshotsAPI "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/metadata"
)

// viewLives is after how long containerd removes a view whose maker could not.
const viewLives = time.Hour

// View makes a read-only snapshot on top of another, and returns how to mount it.
// id is a name that nobody else uses. Once nothing is mounted any more, remove
// takes the snapshot away again, whatever has become of ctx. Errors are of
// errdefs: NotFound where there is no such snapshot or snapshotter.
func (i *Images) View(ctx context.Context, of Snapshot, id string) (mounts []*types.Mount, remove func() error, err error) {
	leases, snapshots := leasesAPI.NewLeasesClient(i.conn), snapshotsAPI.NewSnapshotsClient(i.conn)
	undo := func() error {
		ctx, cancel := context.WithTimeout(i.in(context.WithoutCancel(ctx)), 10*time.Second)
		defer cancel()
		_, snapshot := snapshots.Remove(ctx, &snapshotsAPI.RemoveSnapshotRequest{Snapshotter: of.Snapshotter, Key: id})
		_, lease := leases.Delete(ctx, &leasesAPI.DeleteRequest{ID: id})
		for _, err := range []*error{&snapshot, &lease} {
			if *err = errgrpc.ToNative(*err); errdefs.IsNotFound(*err) {
				*err = nil
			}
		}
		if err := errors.Join(snapshot, lease); err != nil {
			return fmt.Errorf("snapshot %s of %s is left, which containerd removes within %s: %w", id, quote(of.Snapshotter), viewLives, err)
		}
		return nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("snapshot %s of %s: %w", quote(of.Key), quote(of.Snapshotter), errgrpc.ToNative(err)), undo())
		}
	}()
	// Without a lease, containerd's garbage collector would take it.
	labels := map[string]string{"containerd.io/gc.expire": time.Now().Add(viewLives).UTC().Format(time.RFC3339)}
	if _, err := leases.Create(i.in(ctx), &leasesAPI.CreateRequest{ID: id, Labels: labels}); err != nil {
		return nil, nil, err
	}
	leased := metadata.AppendToOutgoingContext(i.in(ctx), "containerd-lease", id)
	response, err := snapshots.View(leased, &snapshotsAPI.ViewSnapshotRequest{Snapshotter: of.Snapshotter, Key: id, Parent: of.Key})
	if err != nil {
		return nil, nil, err
	}
	return response.GetMounts(), undo, nil
}
