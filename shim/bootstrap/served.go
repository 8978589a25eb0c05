package bootstrap

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path"
	"sync"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
)

// bundleInterval is how often a daemon that nobody has asked for anything looks
// whether it is still wanted.
const bundleInterval = time.Second

// servedTask is the Task service as the daemon serves it.
type servedTask struct {
	taskService
	ctx    context.Context
	socket *ownSocket
	// asked is closed by the first call of Create or CreateSandbox.
	asked     chan struct{}
	askedOnce sync.Once
	thrift    thrift
}

// taskService is what package task gives.
type taskService interface {
	shim.TTRPCService
	shim.TTRPCServerUnaryOptioner
	taskAPI.TTRPCTaskService
}

func newServedTask(ctx context.Context, s taskService, socket *ownSocket) *servedTask {
	return &servedTask{taskService: s, ctx: ctx, socket: socket, asked: make(chan struct{}), thrift: newThrift()}
}

// RegisterTTRPC is called when all else is set up, right before the library
// listens.
func (t *servedTask) RegisterTTRPC(server *ttrpc.Server) error {
	bundle, err := os.Getwd()
	if err == nil {
		err = t.taskService.RegisterTTRPC(server)
	}
	if err != nil {
		t.socket.withdraw(t.ctx)
		return err
	}
	go t.live(bundle)
	return nil
}

// live tells `start` once the daemon serves, and ends the daemon if nobody wants
// it any more.
func (t *servedTask) live(bundle string) {
	err := t.awaitServing()
	if err == nil {
		err = announceReady()
	}
	if err != nil {
		log.G(t.ctx).WithError(err).Error("nobody will know of this shim: ending")
		t.end()
		return
	}
	t.endIfAbandoned(bundle)
}

// awaitServing returns once a call is answered. Until then the library can still
// fail, and ends the process without removing the socket: it wants the bundle,
// for one, which containerd may remove as soon as `start` has answered.
func (t *servedTask) awaitServing() error {
	conn, err := net.Dial("unix", t.socket.path)
	if err != nil {
		return err
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.ctx, readyTimeout)
	defer cancel()
	_, err = taskAPI.NewTTRPCTaskClient(client).Connect(ctx, &taskAPI.ConnectRequest{})
	return err
}

// end shuts the daemon down, which has no container.
func (t *servedTask) end() {
	if _, err := t.Shutdown(t.ctx, &taskAPI.ShutdownRequest{}); err != nil {
		log.G(t.ctx).WithError(err).Error("this shim, which nobody wants, does not end")
	}
}

// UnaryServerInterceptor notes that either was called, and that anything was,
// besides what the task's own interceptor does.
func (t *servedTask) UnaryServerInterceptor() ttrpc.UnaryServerInterceptor {
	next := t.taskService.UnaryServerInterceptor()
	return func(ctx context.Context, unmarshal ttrpc.Unmarshaler, info *ttrpc.UnaryServerInfo, method ttrpc.Method) (any, error) {
		call := path.Base(info.FullMethod)
		if call == "Create" || call == "CreateSandbox" {
			t.askedOnce.Do(func() { close(t.asked) })
		}
		response, err := next(ctx, unmarshal, info, method)
		t.thrift.called(call)
		return response, err
	}
}

// endIfAbandoned ends the daemon if the bundle goes before anybody asks for a
// container. That is how containerd gives up on a shim after its answer to
// `start`, for want of disk space, say: it tells neither the shim nor `delete`.
// After Create it does, whatever came of that.
func (t *servedTask) endIfAbandoned(bundle string) {
	tick := time.NewTicker(bundleInterval)
	defer tick.Stop()
	for {
		select {
		case <-t.asked:
			return
		case <-tick.C:
		}
		if _, err := os.Stat(bundle); errors.Is(err, fs.ErrNotExist) {
			log.G(t.ctx).Info("the bundle is gone and nobody has asked for a container: ending")
			t.end()
			return
		}
	}
}
