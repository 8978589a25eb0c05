package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/task"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/containerd/ttrpc"
)

// registerTaskService tells the library what the daemon serves.
func registerTaskService() {
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn:   newTaskService,
	})
}

func newTaskService(ic *plugin.InitContext) (_ any, err error) {
	socket, err := inheritedSocket(listenerDescriptor)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			announceFailure(err)
			socket.withdraw(ic.Context)
		}
	}()
	publisher, err := publisherFor(ic)
	if err != nil {
		return nil, err
	}
	s, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
	if err != nil {
		return nil, err
	}
	sd := withdrawing{s.(shutdown.Service), ic.Context, socket}
	sd.RegisterCallback(func(ctx context.Context) error {
		socket.withdraw(ctx)
		return nil
	})
	if err := raiseOOMScore(); err != nil {
		log.G(ic.Context).WithError(err).Warn("the kernel may end this shim before containerd when memory runs out")
	}
	checkTracing(ic.Context)
	options, err := readOptions(".")
	if err != nil {
		return nil, err
	}
	service, err := task.New(ic.Context, ic.Properties[plugins.PropertyGRPCAddress], options, publisher, sd)
	if err != nil {
		return nil, err
	}
	return newServedTask(ic.Context, service.(taskService), socket), nil
}

// publisherFor returns what takes the daemon's events. The library has made one of
// its own, which has not connected yet.
func publisherFor(ic *plugin.InitContext) (shim.Publisher, error) {
	theirs, err := ic.GetByID(plugins.EventPlugin, "publisher")
	if err != nil {
		return nil, err
	}
	if err := theirs.(shim.Publisher).Close(); err != nil {
		return nil, err
	}
	address := ic.Properties[plugins.PropertyTTRPCAddress]
	if address == "" {
		return noPublisher{}, nil
	}
	var opts []ttrpc.ClientOpts
	if tracing, err := ic.GetByID(plugins.TTRPCPlugin, "otelttrpc"); err == nil {
		opts = append(opts, ttrpc.WithUnaryClientInterceptor(tracing.(shim.TTRPCClientUnaryOptioner).UnaryClientInterceptor()))
	}
	return newPublisher(address, opts...)
}

// withdrawing is the daemon's shutdown service, which also withdraws the socket
// before Shutdown returns: the daemon of containerd that has asked for it may
// call `start` for the same group at once.
type withdrawing struct {
	shutdown.Service
	ctx    context.Context
	socket *ownSocket
}

func (w withdrawing) Shutdown() {
	w.socket.withdraw(w.ctx)
	w.Service.Shutdown()
}

// noPublisher stands in where nobody listens for events, as under CRI-O, which
// watches the task itself.
type noPublisher struct{}

func (noPublisher) Publish(context.Context, string, events.Event) error { return nil }
func (noPublisher) Close() error                                        { return nil }

// raiseOOMScore makes this process a little more likely than containerd, from
// which it has inherited its score, to be killed for want of memory.
func raiseOOMScore() error {
	const file, highest = "/proc/self/oom_score_adj", 1000
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if score >= highest {
		return nil
	}
	err = os.WriteFile(file, []byte(strconv.Itoa(score+1)), 0)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("oom_score_adj stays at %d: %w", score, err)
	}
	return err
}
