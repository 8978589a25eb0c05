package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/v2/defaults"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// taskAPIVersion is the Task service that a daemon which can choose shall use.
// Daemons that cannot use version 2, which is served as well.
const taskAPIVersion = 3

// maxInput bounds what is read from stdin, in bytes.
const maxInput = 10 << 20

// request is what a daemon asks of `start`, whatever its generation.
type request struct {
	id, namespace string
	// grpcAddress and ttrpcAddress are containerd's; empty under CRI-O.
	grpcAddress, ttrpcAddress string
	debug                     bool
	socketDir                 string
	// options are the runtime's, and packed the message in which they came.
	options options.Options
	packed  *anypb.Any
	// protobuf says that the daemon speaks containerd 2.3's bootstrap protocol
	// and is answered in it. The others are answered with the plain address.
	protobuf bool
}

// readRequest joins what the daemon wrote on the command line with what it wrote
// to stdin: nothing or the runtime's options up to containerd 2.2 and in CRI-O,
// a BootstrapParams message since 2.3.
func readRequest(args arguments, stdin io.Reader) (request, error) {
	if args.id == "" {
		return request{}, errors.New("start: flag -id is missing")
	}
	if args.namespace == "" {
		return request{}, errors.New("start: flag -namespace is missing")
	}
	input, err := io.ReadAll(io.LimitReader(stdin, maxInput+1))
	if err != nil {
		return request{}, fmt.Errorf("start: stdin: %w", err)
	}
	if len(input) > maxInput {
		return request{}, fmt.Errorf("start: stdin: more than %d bytes", maxInput)
	}

	// Both messages begin with two strings, so that one parses as the other:
	// only a BootstrapParams repeats the command line's id and namespace.
	var params bootapi.BootstrapParams
	if proto.Unmarshal(input, &params) == nil && params.InstanceID == args.id && params.Namespace == args.namespace {
		return fromParams(args, &params)
	}
	var packed anypb.Any
	if err := proto.Unmarshal(input, &packed); err != nil {
		return request{}, fmt.Errorf("start: stdin is neither bootstrap parameters for container %q nor runtime options: %w", args.id, err)
	}
	opts, err := options.FromAny(&packed)
	if err != nil {
		return request{}, err
	}
	return request{
		id:           args.id,
		namespace:    args.namespace,
		grpcAddress:  args.address,
		ttrpcAddress: os.Getenv(ttrpcAddressVariable),
		debug:        args.debug,
		socketDir:    defaultSocketDir(),
		options:      opts,
		packed:       &packed,
	}, nil
}

func fromParams(args arguments, params *bootapi.BootstrapParams) (request, error) {
	r := request{
		id:           params.GetInstanceID(),
		namespace:    params.GetNamespace(),
		grpcAddress:  params.GetContainerdGrpcAddress(),
		ttrpcAddress: params.GetContainerdTtrpcAddress(),
		debug:        args.debug || params.GetLogLevel() <= bootapi.LogLevel_LOG_LEVEL_DEBUG,
		socketDir:    params.GetSocketDir(),
		protobuf:     true,
	}
	if r.socketDir == "" {
		r.socketDir = defaultSocketDir()
	}
	// Extensions are an open set. The runtime's options are one of them, and
	// come again in Create, which refuses a kind that is not understood.
	for _, extension := range params.GetExtensions() {
		if !options.Understood(extension.GetValue()) {
			continue
		}
		var err error
		r.packed = extension.GetValue()
		if r.options, err = options.FromAny(r.packed); err != nil {
			return request{}, err
		}
	}
	return r, nil
}

func defaultSocketDir() string { return filepath.Join(defaults.DefaultStateDir, "s") }

// answer tells the daemon where the shim listens.
func (r request) answer(w io.Writer, address string) error {
	reply := []byte(address)
	if r.protobuf {
		var err error
		reply, err = proto.Marshal(&bootapi.BootstrapResult{
			Version:  taskAPIVersion,
			Protocol: "ttrpc",
			Address:  address,
		})
		if err != nil {
			return err
		}
	}
	_, err := w.Write(reply)
	return err
}

// groupAnnotations name the pod that a container belongs to, first match first:
// containerd's own, its CRI plugin's, CRI-O's.
var groupAnnotations = []string{
	"io.containerd.runc.v2.group",
	"io.kubernetes.cri.sandbox-id",
	"io.kubernetes.cri-o.SandboxID",
}

// group returns the name under which containers share one shim: the pod's, or
// the container's own id. A bundle without a config.json is a sandbox's, and its
// id is the pod's.
func group(bundleDir, id string) (string, error) {
	data, err := os.ReadFile(filepath.Join(bundleDir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return id, nil
	}
	if err != nil {
		return "", fmt.Errorf("container %s: %w", id, err)
	}
	var spec struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		return "", fmt.Errorf("container %s: config.json: %w", id, err)
	}
	for _, name := range groupAnnotations {
		if pod := spec.Annotations[name]; pod != "" {
			return pod, nil
		}
	}
	return id, nil
}
