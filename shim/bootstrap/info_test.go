package bootstrap

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"google.golang.org/protobuf/proto"
)

func runInfo(t *testing.T, stdin []byte) *types.RuntimeInfo {
	t.Helper()
	stdout, stderr, err := runShim(t, t.TempDir(), nil, stdin, "-info")
	if err != nil || stderr != "" {
		t.Fatalf("-info: %v, stderr %q", err, stderr)
	}
	var info types.RuntimeInfo
	if err := proto.Unmarshal([]byte(stdout), &info); err != nil {
		t.Fatal(err)
	}
	return &info
}

func TestInfo(t *testing.T) {
	info := runInfo(t, nil)
	if info.Name != "io.containerd.wasm.v1" || info.Version.GetVersion() == "" || info.Version.GetRevision() == "" {
		t.Errorf("info %v", info)
	}
	if info.Options != nil {
		t.Errorf("options %v come from nowhere", info.Options)
	}
	v, err := typeurl.UnmarshalAny(info.Features)
	if err != nil {
		t.Fatal(err)
	}
	f, ok := v.(*features.Features)
	if !ok {
		t.Fatalf("features are a %T", v)
	}
	if !slices.Contains(f.Linux.Namespaces, "network") || f.Linux.Seccomp.Enabled == nil || !*f.Linux.Cgroup.V2 {
		t.Errorf("features %+v", f.Linux)
	}
	// CRI asks for rro before it makes a mount read-only in depth.
	if !slices.Contains(f.MountOptions, "rro") || !slices.Contains(f.MountOptions, "idmap") {
		t.Errorf("mount options %q", f.MountOptions)
	}
	// CRI asks for this before it makes a pod with a user namespace.
	if !*f.Linux.MountExtensions.IDMap.Enabled {
		t.Error("id-mapped mounts are not promised")
	}
}

func TestInfoEchoesOptions(t *testing.T) {
	info := runInfo(t, optionsInput(t, "SystemdCgroup = true"))
	if got := marshal(t, info.Options); string(got) != string(optionsInput(t, "SystemdCgroup = true")) {
		t.Errorf("options %v", info.Options)
	}
}

func TestInfoRefusesBadOptions(t *testing.T) {
	for want, stdin := range map[string][]byte{
		"unknown key Colour":  optionsInput(t, "Colour = 'red'"),
		"not runtime options": []byte("hello"),
	} {
		_, stderr, err := runShim(t, t.TempDir(), nil, stdin, "-info")
		if err == nil || !strings.Contains(stderr, want) {
			t.Errorf("-info: %v, stderr %q, want %q", err, stderr, want)
		}
	}
}

func TestCommandLineForPeople(t *testing.T) {
	for _, c := range []struct {
		args           []string
		fails          bool
		stdout, stderr string
	}{
		{[]string{"-version"}, false, "Go version: go", ""},
		{[]string{"-v"}, false, "containerd-shim-wasm-v1:", ""},
		{[]string{"-h"}, false, "ctr run", ""},
		{[]string{"--help"}, false, "ctr run", ""},
		{nil, true, "", "ctr run"},
		{[]string{"-colour"}, true, "", "-colour"},
		{[]string{"-id", "c1", "-namespace", "n", "stop"}, true, "", `"stop"`},
		{[]string{"-id", "c1", "delete"}, true, "", "namespace"},
		{[]string{"-namespace", "n", "start"}, true, "", "-id"},
	} {
		stdout, stderr, err := runShim(t, t.TempDir(), nil, nil, c.args...)
		if (err != nil) != c.fails {
			t.Errorf("%q: %v", c.args, err)
		}
		if !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%q: stdout %q, stderr %q", c.args, stdout, stderr)
		}
		if (stdout != "") != (c.stdout != "") || (stderr != "") != (c.stderr != "") {
			t.Errorf("%q writes to the wrong stream: stdout %q, stderr %q", c.args, stdout, stderr)
		}
	}
}
