package oci

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func container(annotations map[string]string, allowed []string, args ...string) Container {
	return Container{
		Spec:        &specs.Spec{Annotations: annotations, Process: &specs.Process{Args: args, Cwd: "/"}},
		Annotations: allowed,
	}
}

func TestAnnotations(t *testing.T) {
	module := []string{AnnotationModule}
	for name, c := range map[string]struct {
		annotations map[string]string
		allowed     []string
		args        []string
		path        string
		function    string
		argv        []string
		declared    bool
	}{
		"none":            {nil, nil, []string{"/a.wasm#f", "x"}, "/a.wasm", "f", []string{"/a.wasm", "x"}, false},
		"of others":       {map[string]string{"io.containerd.wasm.v10": "x", "a": "b"}, nil, []string{"/a.wasm"}, "/a.wasm", "", []string{"/a.wasm"}, false},
		"module":          {map[string]string{Prefix + "module": "/b.wasm"}, module, []string{"a", "x"}, "/b.wasm", "", []string{"a", "x"}, false},
		"module#function": {map[string]string{Prefix + "module": "/b.wasm#g"}, module, []string{"/a.wasm#f"}, "/b.wasm", "g", []string{"/a.wasm"}, false},
		"#function":       {map[string]string{Prefix + "module": "#g"}, module, []string{"/a.wasm#f"}, "/a.wasm", "g", []string{"/a.wasm"}, false},
		"crun":            {map[string]string{"run.oci.handler": "wasm"}, nil, []string{"/a.wasm"}, "/a.wasm", "", []string{"/a.wasm"}, true},
		"compat":          {map[string]string{"module.wasm.image/variant": "compat"}, nil, []string{"/a.wasm"}, "/a.wasm", "", []string{"/a.wasm"}, true},
		"compat-smart":    {map[string]string{"module.wasm.image/variant": "compat-smart"}, nil, []string{"/a.wasm"}, "/a.wasm", "", []string{"/a.wasm"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := container(c.annotations, c.allowed, c.args...).Module(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := Module{Paths: []string{c.path}, Function: c.function, Args: c.argv, Declared: c.declared, Note: m.Note}
			if !reflect.DeepEqual(m, want) || m.Note == "" {
				t.Errorf("got %+v, want %+v", m, want)
			}
		})
	}
}

func TestAnnotationsRefused(t *testing.T) {
	module := []string{AnnotationModule}
	for name, c := range map[string]struct {
		annotations map[string]string
		allowed     []string
		is          func(error) bool
		want        string
	}{
		"not allowed":      {map[string]string{Prefix + "module": "/b.wasm"}, nil, errdefs.IsPermissionDenied, `Annotations = ["module"]`},
		"not known":        {map[string]string{Prefix + "x\x1b": "1"}, []string{"x\x1b"}, errdefs.IsInvalidArgument, `x\x1b`},
		"empty":            {map[string]string{Prefix + "module": ""}, module, errdefs.IsInvalidArgument, Prefix + "module"},
		"empty function":   {map[string]string{Prefix + "module": "\x07#"}, module, errdefs.IsInvalidArgument, `\a#`},
		"another handler":  {map[string]string{"run.oci.handler": "krun\n"}, nil, errdefs.IsInvalidArgument, `krun\n`},
		"another variant":  {map[string]string{"module.wasm.image/variant": strings.Repeat("x", 1000)}, nil, errdefs.IsInvalidArgument, "(1000 bytes)"},
		"a variant of yes": {map[string]string{"module.wasm.image/variant": ""}, nil, errdefs.IsInvalidArgument, "compat and compat-smart"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := container(c.annotations, c.allowed, "/a.wasm").Module(t.Context())
			if !c.is(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestCheckAnnotation(t *testing.T) {
	if err := CheckAnnotation("module"); err != nil {
		t.Error(err)
	}
	if err := CheckAnnotation("modul"); err == nil || !strings.Contains(err.Error(), Prefix+"modul") {
		t.Errorf("got %v", err)
	}
}

// TestAnother runs further processes in a container of a layer.
func TestAnother(t *testing.T) {
	first := Module{Layer: &Layer{Title: "bin/app.wasm"}, Function: "f", Args: []string{"app", "x"}}
	for args, want := range map[string]Module{
		"app#g":         {Layer: first.Layer, Function: "g", Args: []string{"app", "y"}, Declared: true},
		"#g":            {Layer: first.Layer, Function: "g", Args: []string{"app", "y"}, Declared: true},
		"/bin/app.wasm": {Layer: first.Layer, Args: []string{"app", "y"}, Declared: true},
		"/tool.wasm":    {Paths: []string{"/tool.wasm"}, Args: []string{"/tool.wasm", "y"}},
	} {
		got, err := first.Another(&specs.Spec{Process: &specs.Process{Args: []string{args, "y"}, Cwd: "/"}})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v (%v), want %+v", args, got, err, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	for typed, want := range map[string]string{
		"app":                        "docker.io/library/app:latest",
		"app:1":                      "docker.io/library/app:1",
		"me/app":                     "docker.io/me/app:latest",
		"docker.io/app":              "docker.io/library/app:latest",
		"index.docker.io/me/app:1":   "docker.io/me/app:1",
		"localhost/app":              "localhost/app:latest",
		"Host/app":                   "Host/app:latest",
		"127.0.0.1:5000/app":         "127.0.0.1:5000/app:latest",
		"ghcr.io/me/app:1@sha256:00": "ghcr.io/me/app@sha256:00",
		"ghcr.io/me/app@sha256:00":   "ghcr.io/me/app@sha256:00",
	} {
		if got := canonical(typed); got != want {
			t.Errorf("%s is %s, not %s", typed, got, want)
		}
	}
}

func TestListen(t *testing.T) {
	listen := []string{AnnotationListen}
	annotated := func(value string) Container {
		return container(map[string]string{Prefix + "listen": value}, listen, "/a.wasm")
	}
	m, err := annotated("tcp://0.0.0.0:80, tcp://[::1]:8080").Module(t.Context())
	want := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:80"), netip.MustParseAddrPort("[::1]:8080")}
	if err != nil || !slices.Equal(m.Listen, want) {
		t.Errorf("%v, %v", m.Listen, err)
	}
	for value, want := range map[string]string{
		"":                                  "is no address to listen at; write tcp://",
		"tcp://0.0.0.0":                     "is no address to listen at",
		"tcp://0.0.0.0:0":                   "is no address to listen at",
		"tcp://0.0.0.0:80,":                 "is no address to listen at",
		"unix:///socket":                    "is no address to listen at",
		"tcp://0.0.0.0:80,tcp://0.0.0.0:80": "is there twice",
	} {
		if _, err := annotated(value).Module(t.Context()); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", value, err, want)
		}
	}
	var many []string
	for port := range maxListen + 1 {
		many = append(many, fmt.Sprintf("tcp://0.0.0.0:%d", port+1))
	}
	if _, err := annotated(strings.Join(many, ",")).Module(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 64 addresses") {
		t.Errorf("many: %v", err)
	}
}
