package bootstrap

import (
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// debugSocket is where a daemon that was started with -debug serves its
// profiles. It is in the bundle, where a person who knows the container finds
// it, where nobody but root gets, and with which it is removed.
const debugSocket = "debug.sock"

// registerProfiles gives the library what to serve at the debug socket: it
// looks for the plugin of that name. The paths are those of net/http/pprof, so
// that `ctr pprof` understands them.
func registerProfiles() {
	registry.Register(&plugin.Registration{
		Type: plugins.HTTPHandler,
		ID:   "pprof",
		InitFn: func(*plugin.InitContext) (any, error) {
			mux := http.NewServeMux()
			mux.HandleFunc("/debug/pprof/", pprof.Index) // heap, goroutine, allocs …
			mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
			mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
			return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, nil
		},
	})
}

// listenForProfiles makes the debug socket in the bundle, the working directory.
// The caller closes the listener; the socket is removed with the bundle.
func listenForProfiles() (*net.UnixListener, error) {
	// One is there when a start is repeated after its shim was killed.
	if err := removeFile(debugSocket); err != nil {
		return nil, err
	}
	l, err := shim.NewSocket("unix://" + debugSocket)
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}
