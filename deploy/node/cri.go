package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// engine is the node's containerd, asked as the kubelet asks it.
type engine struct {
	socket string
	conn   *grpc.ClientConn
	cri    cri.RuntimeServiceClient
}

// connect needs no containerd that answers. The caller closes conn.
func connect(h host, d distribution) (*engine, error) {
	path, err := h.path(d.socket)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &engine{socket: d.socket, conn: conn, cri: cri.NewRuntimeServiceClient(conn)}, nil
}

// release is the version of containerd, and the first number of it.
func (e *engine) release(ctx context.Context) (version string, major int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	v, err := e.cri.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return "", 0, fmt.Errorf("the engine at %s on the node does not serve CRI: %w", e.socket, err)
	}
	version = strings.TrimPrefix(v.RuntimeVersion, "v")
	first, _, _ := strings.Cut(version, ".")
	major, err = strconv.Atoi(first)
	if v.RuntimeName != "containerd" || err != nil {
		return "", 0, fmt.Errorf("the engine at %s on the node is %s %s; the runtime is one of containerd's", e.socket, v.RuntimeName, v.RuntimeVersion)
	}
	return version, major, nil
}

// handlers are the names of the runtimes that CRI knows.
func (e *engine) handlers(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	status, err := e.cri.Status(ctx, &cri.StatusRequest{Verbose: true})
	if err != nil {
		return nil, err
	}
	// Status.RuntimeHandlers would be shorter, but 1.7 does not have it.
	var config struct {
		Containerd struct {
			Runtimes map[string]any `json:"runtimes"`
		} `json:"containerd"`
	}
	if err := json.Unmarshal([]byte(status.Info["config"]), &config); err != nil {
		return nil, fmt.Errorf("CRI's status has no configuration: %w", err)
	}
	var names []string
	for name := range config.Containerd.Runtimes {
		names = append(names, name)
	}
	return names, nil
}

// waitFor waits until containerd answers and has the handler, or has not.
func (e *engine) waitFor(ctx context.Context, wanted bool) error {
	for {
		names, err := e.handlers(ctx)
		if err == nil && slices.Contains(names, handler) == wanted {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it has the runtimes %s", strings.Join(names, ", "))
		}
		select {
		case <-ctx.Done():
			what := "has the runtime " + handler
			if !wanted {
				what = "is without the runtime " + handler
			}
			return fmt.Errorf("containerd at %s on the node does not answer that it %s: %w (%w)", e.socket, what, err, ctx.Err())
		case <-time.After(250 * time.Millisecond):
			// After a restart, gRPC would wait longer and longer by itself.
			e.conn.ResetConnectBackoff()
		}
	}
}
