package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/seccomp/profile"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/api/types"
	_ "github.com/containerd/containerd/v2/core/runtime" // registers the type of features.Features
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// manager answers containerd's shim library.
type manager struct{}

func (manager) Name() string { return runtimeName }

// Start is never reached: Main takes `start` before the library.
func (manager) Start(context.Context, *bootapi.BootstrapParams) (*bootapi.BootstrapResult, error) {
	return nil, errors.New("start does not go through the library")
}

// Info is the flag -info: what the runtime is and can do. The options, an Any or
// nothing on stdin, are checked and echoed. Since containerd 2.2 it is asked
// before a Create, and by CRI for every handler as it starts.
func (manager) Info(_ context.Context, stdin io.Reader) (*types.RuntimeInfo, error) {
	input, err := io.ReadAll(io.LimitReader(stdin, maxInput))
	if err != nil {
		return nil, fmt.Errorf("-info: stdin: %w", err)
	}
	var packed anypb.Any
	if err := proto.Unmarshal(input, &packed); err != nil {
		return nil, fmt.Errorf("-info: stdin is not runtime options: %w", err)
	}
	if _, err := options.FromAny(&packed); err != nil {
		return nil, err
	}
	can, err := typeurl.MarshalAnyToProto(runtimeFeatures())
	if err != nil {
		return nil, err
	}
	v, r := programVersion()
	info := &types.RuntimeInfo{
		Name:     runtimeName,
		Version:  &types.RuntimeVersion{Version: v, Revision: r},
		Features: can,
	}
	if len(input) > 0 {
		info.Options = &packed
	}
	return info, nil
}

// runtimeFeatures are those of the runtime spec's features.md. A list that is
// not there says "unknown"; "none", as of hooks and capabilities, has no form in
// it.
func runtimeFeatures() *features.Features {
	yes, no := true, false
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		MountOptions:  jail.MountOptions(),
		Linux: &features.Linux{
			Namespaces: []string{
				string(specs.CgroupNamespace),
				string(specs.IPCNamespace),
				string(specs.MountNamespace),
				string(specs.NetworkNamespace),
				string(specs.PIDNamespace),
				string(specs.UserNamespace),
				string(specs.UTSNamespace),
			},
			Cgroup: &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &no, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled:    &yes,
				Actions:    profile.Actions(),
				Operators:  profile.Operators(),
				KnownFlags: profile.Flags(), SupportedFlags: profile.Flags(),
			},
			Apparmor: &features.Apparmor{Enabled: &no},
			Selinux:  &features.Selinux{Enabled: &no},
			IntelRdt: &features.IntelRdt{Enabled: &no},
			MountExtensions: &features.MountExtensions{
				IDMap: &features.IDMap{Enabled: &yes},
			},
			NetDevices: &features.NetDevices{Enabled: &no},
		},
	}
}
