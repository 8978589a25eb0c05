package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/linux"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/pod"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// statusKilled is the exit status of a container that `delete` had to end.
const statusKilled = 128 + uint32(unix.SIGKILL)

// killTimeout is how long the container's processes may take to die. containerd
// gives the whole of `delete` five seconds.
const killTimeout = 3 * time.Second

// Stop is the action `delete`: it removes what is left of the container id and
// says how it ended. containerd calls it when the shim is gone, and up to 2.2
// after every ordinary delete too, so that it finds nothing most of the time. It
// touches the one container only: neither the others of its pod nor a shim that
// still serves them. Processes that do not die are an error; other leftovers are
// warnings on stderr, which containerd logs, for the exit status matters more.
func (manager) Stop(ctx context.Context, id string) (shim.StopStatus, error) {
	dir := "." // containerd's choice on Linux
	if opts, ok := ctx.Value(shim.OptsKey{}).(shim.Opts); ok && opts.BundlePath != "" {
		dir = opts.BundlePath
	}
	status, err := cleanUp(ctx, dir, id)
	if err != nil {
		return shim.StopStatus{}, fmt.Errorf("container %s: delete: %w", id, err)
	}
	return status, nil
}

func cleanUp(ctx context.Context, dir, id string) (shim.StopStatus, error) {
	warn := func(what string, err error) {
		if err != nil {
			log.G(ctx).WithField("id", id).WithError(err).Warnf("delete: %s", what)
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return shim.StopStatus{}, err
	}
	if linux.Owns(dir) {
		status, err := linux.CleanUp(ctx, id)
		sweepSockets(dir, warn)
		return status, err
	}
	state, err := bundle.Read(dir)
	known := err == nil
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Create was never reached: there is no control group and no process.
		state = bundle.State{ID: id}
	case err != nil:
		return shim.StopStatus{}, err
	case state.ID != id:
		return shim.StopStatus{}, fmt.Errorf("%s is the bundle of container %s", dir, state.ID)
	default:
		group, err := cgroups.New(cgroups.Config{ID: id, Path: state.CgroupPath, Systemd: state.SystemdCgroup})
		if err != nil {
			return shim.StopStatus{}, err
		}
		if err := killAll(ctx, group); err != nil {
			return shim.StopStatus{}, err
		}
		warn("control group", group.Delete())
	}
	// Lazily: the container's own mounts went with its namespace, and whoever
	// else looks into its root file system must not hold up the delete.
	warn("unmount the root file system", mount.UnmountRecursive(filepath.Join(dir, "rootfs"), unix.MNT_DETACH))
	warn("unmount what the pod's containers shared", pod.Unmount(dir))
	sweepSockets(dir, warn)
	if state.ExitStatus == nil {
		killed := statusKilled
		state.ExitStatus, state.ExitedAt = &killed, time.Now()
		if known {
			// From here on every repetition gives the same answer.
			warn("exit status", bundle.Write(dir, state))
		}
	}
	return shim.StopStatus{
		Pid:        state.Pid,
		ExitStatus: int(*state.ExitStatus),
		ExitedAt:   state.ExitedAt,
	}, nil
}

// sweepSockets removes the socket of the container's shim, and those of others,
// where nobody listens any more.
func sweepSockets(dir string, warn func(what string, err error)) {
	sockets := defaultSocketDir()
	if address, err := shim.ReadAddress(filepath.Join(dir, addressFile)); err == nil {
		sockets = filepath.Dir(socketPath(address))
		warn("socket of the dead shim", removeIfDead(address))
	}
	warn("sockets of dead shims", sweep(sockets))
}

// killAll kills all processes in the group and waits until none is left.
func killAll(ctx context.Context, group *cgroups.Group) error {
	for deadline := time.Now().Add(killTimeout); ; time.Sleep(5 * time.Millisecond) {
		pids, err := group.Pids()
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(pids) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end after SIGKILL", pids)
		}
		log.G(ctx).WithField("pids", pids).Debug("killing what is left of the container")
		if err := group.Kill(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}
