package bootstrap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/proto"
)

// optionsInput is what containerd up to 2.2 writes to stdin where the runtime
// has options, given here as TOML.
func optionsInput(t *testing.T, toml string) []byte {
	t.Helper()
	a, err := typeurl.MarshalAnyToProto(&runtimeoptions.Options{ConfigBody: []byte(toml)})
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, a)
}

// paramsInput is what containerd since 2.3 writes to stdin.
func paramsInput(t *testing.T, p *bootapi.BootstrapParams, toml string) []byte {
	t.Helper()
	if toml != "" {
		a, err := typeurl.MarshalAnyToProto(&runtimeoptions.Options{ConfigBody: []byte(toml)})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.AddExtension(a); err != nil {
			t.Fatal(err)
		}
	}
	return marshal(t, p)
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// commandLine is what every daemon writes on the command line.
var commandLine = []string{"-namespace", "default", "-address", "/run/containerd/containerd.sock",
	"-publish-binary", "/usr/bin/containerd", "-id", "c1", "start"}

func TestReadRequestOfEachGeneration(t *testing.T) {
	t.Setenv(ttrpcAddressVariable, "/run/containerd/containerd.sock.ttrpc")
	legacy := request{
		id: "c1", namespace: "default",
		grpcAddress:  "/run/containerd/containerd.sock",
		ttrpcAddress: "/run/containerd/containerd.sock.ttrpc",
		socketDir:    "/run/containerd/s",
	}
	legacyDebug, legacySystemd := legacy, legacy
	legacyDebug.debug = true
	legacySystemd.options = options.Options{SystemdCgroup: true}

	params := func() *bootapi.BootstrapParams {
		return &bootapi.BootstrapParams{
			InstanceID: "c1", Namespace: "default", ContainerdVersion: "v2.4.2",
			ContainerdGrpcAddress: "/new.sock", ContainerdTtrpcAddress: "/new.sock.ttrpc",
		}
	}
	current := request{
		id: "c1", namespace: "default", grpcAddress: "/new.sock", ttrpcAddress: "/new.sock.ttrpc",
		socketDir: "/run/containerd/s", protobuf: true,
	}
	placed, placedSystemd, currentDebug := current, current, current
	placed.socketDir = "/run/k"
	placedSystemd.options = options.Options{SystemdCgroup: true}
	currentDebug.debug = true
	inDir := params()
	inDir.SocketDir = proto.String("/run/k")
	debug := params()
	debug.LogLevel = bootapi.LogLevel_LOG_LEVEL_TRACE
	other := params()
	if err := other.AddExtension(&bootapi.BootstrapParams{}); err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		line  []string
		stdin []byte
		want  request
	}{
		"1.6 to 2.2, no options":     {commandLine, nil, legacy},
		"1.6 to 2.2, options":        {commandLine, optionsInput(t, "SystemdCgroup = true"), legacySystemd},
		"1.6 to 2.2, debug":          {append([]string{"-debug"}, commandLine...), nil, legacyDebug},
		"2.3, no options":            {commandLine, paramsInput(t, params(), ""), current},
		"2.3, options":               {commandLine, paramsInput(t, params(), "SystemdCgroup = true"), placedSystemd},
		"2.3, socket directory":      {commandLine, paramsInput(t, inDir, ""), placed},
		"2.3, debug":                 {commandLine, paramsInput(t, debug, ""), currentDebug},
		"2.3, an unknown extension":  {commandLine, paramsInput(t, other, ""), current},
		"2.3, more on the line":      {append([]string{"-bundle", "/b"}, commandLine...), paramsInput(t, params(), ""), current},
		"2.3, debug on line, params": {append([]string{"-debug"}, commandLine...), paramsInput(t, params(), ""), currentDebug},
	} {
		t.Run(name, func(t *testing.T) {
			args, err := parseArguments(c.line)
			if err != nil {
				t.Fatal(err)
			}
			if args.action != "start" {
				t.Fatalf("action %q", args.action)
			}
			got, err := readRequest(args, bytes.NewReader(c.stdin))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := leaveOptions(dir, got.packed); err != nil {
				t.Fatal(err)
			}
			if left, err := readOptions(dir); err != nil || !reflect.DeepEqual(left, got.options) {
				t.Errorf("the daemon finds %+v, %v", left, err)
			}
			got.packed = nil
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got\n%+v, want\n%+v", got, c.want)
			}
		})
	}
}

func TestReadRequestUnderCRIO(t *testing.T) {
	args, err := parseArguments([]string{"-namespace", "default", "-address", "", "-publish-binary", "/usr/bin/crio", "-id", "c1", "start"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(ttrpcAddressVariable, "")
	r, err := readRequest(args, bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	if r.grpcAddress != "" || r.ttrpcAddress != "" || r.protobuf {
		t.Errorf("got %+v", r)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("torn off") }

func TestReadRequestRefuses(t *testing.T) {
	whole := arguments{action: "start", id: "c1", namespace: "default"}
	for name, c := range map[string]struct {
		args  arguments
		stdin []byte
		want  string
	}{
		"no id":             {arguments{namespace: "default"}, nil, "-id"},
		"no namespace":      {arguments{id: "c1"}, nil, "-namespace"},
		"garbage":           {whole, []byte("hello"), "neither"},
		"another container": {whole, paramsInput(t, &bootapi.BootstrapParams{InstanceID: "c2", Namespace: "default"}, ""), `"c2"`},
		"another namespace": {whole, paramsInput(t, &bootapi.BootstrapParams{InstanceID: "c1", Namespace: "k8s.io"}, ""), `"c1"`},
		"bad options":       {whole, optionsInput(t, "Sistemd = 1"), "unknown key Sistemd"},
		"bad options, 2.3":  {whole, paramsInput(t, &bootapi.BootstrapParams{InstanceID: "c1", Namespace: "default"}, "Sistemd = 1"), "unknown key Sistemd"},
		"too much":          {whole, make([]byte, maxInput+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := readRequest(c.args, bytes.NewReader(c.stdin))
			if err == nil {
				t.Fatalf("accepted as %+v", r)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not contain %q", err, c.want)
			}
		})
	}
	if _, err := readRequest(whole, brokenReader{}); err == nil || !strings.Contains(err.Error(), "torn off") {
		t.Errorf("a broken stdin gives %v", err)
	}
}

func TestAnswerOfEachGeneration(t *testing.T) {
	const address = "unix:///run/containerd/s/1234"
	var out bytes.Buffer
	if err := (request{}).answer(&out, address); err != nil {
		t.Fatal(err)
	}
	if out.String() != address {
		t.Errorf("plain answer %q", out.String())
	}

	out.Reset()
	if err := (request{protobuf: true}).answer(&out, address); err != nil {
		t.Fatal(err)
	}
	var got bootapi.BootstrapResult
	if err := proto.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(&got, &bootapi.BootstrapResult{Version: 3, Protocol: "ttrpc", Address: address}) {
		t.Errorf("protobuf answer %v", &got)
	}
}

func TestGroup(t *testing.T) {
	for name, c := range map[string]struct{ config, want string }{
		"alone":                {`{"annotations":{"a":"b"}}`, "c1"},
		"no annotations":       {`{}`, "c1"},
		"CRI":                  {`{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}`, "pod"},
		"CRI-O":                {`{"annotations":{"io.kubernetes.cri-o.SandboxID":"pod"}}`, "pod"},
		"explicit comes first": {`{"annotations":{"io.kubernetes.cri.sandbox-id":"pod","io.containerd.runc.v2.group":"g"}}`, "g"},
		"empty means none":     {`{"annotations":{"io.containerd.runc.v2.group":"","io.kubernetes.cri.sandbox-id":"pod"}}`, "pod"},
		"a sandbox, no config": {"", "c1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.config != "" {
				writeFile(t, filepath.Join(dir, "config.json"), c.config)
			}
			got, err := group(dir, "c1")
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "config.json"), "{")
	if _, err := group(dir, "c1"); err == nil || !strings.Contains(err.Error(), "c1") || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("a damaged config.json gives %v", err)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
