package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestCreateErrors reads what ctr tells a user whose container cannot be made.
func TestCreateErrors(t *testing.T) {
	for _, c := range []struct {
		name, guest string
		flags       []string
		args        []string // the whole command line
		want        []string
	}{
		{"missing module", "hello-c", nil, []string{"/nothing.wasm"}, []string{"/nothing.wasm", "no such file"}},
		{"a directory", "hello-c", nil, []string{"/"}, []string{"module /", "is a directory"}},
		{"empty", "empty", nil, nil, []string{"/empty.wasm", "empty"}},
		{"not Wasm", "not-wasm", nil, nil, []string{"/not-wasm.wasm", "not a WebAssembly module", "text"}},
		{"a component", "component", nil, nil, []string{"/component.wasm", "component", "preview 1"}},
		{"missing import", "missing-import", nil, nil, []string{"/missing-import.wasm", "env.print_i32"}},
		{"unsupported proposal", "memory64", nil, nil, []string{"/memory64.wasm", "memory64"}},
		{"no entry function", "no-start", nil, nil, []string{"/no-start.wasm", "_start"}},
		{"no such export", "hello-c", nil, []string{"/hello-c.wasm#nope"}, []string{"/hello-c.wasm", "nope", "_start"}},
		{"nothing after the #", "hello-c", nil, []string{"/hello-c.wasm#"}, []string{"process.args", "#"}},
		{"a function with parameters", "reactor", nil, []string{"/reactor.wasm#add"}, []string{"/reactor.wasm", "add", "param"}},
		{"a mount that is not there", "hello-c", []string{"--mount", "type=bind,src=/nothing/here,dst=/data,options=rbind:rw"}, nil,
			[]string{"/nothing/here", "no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			id := newID(t)
			argv := append([]string{"run", "--rm", "--runtime", wasmRuntime}, c.flags...)
			r := ctr(t, append(append(argv, imageName(c.guest), id), c.args...)...)
			if r.code == 0 || r.stdout != "" {
				t.Errorf("it was not refused: %s", r)
			}
			r.wantStderr(t, append(c.want, id)...)
			for _, never := range []string{"goroutine ", "panic", "runtime error"} {
				if strings.Contains(r.stderr, never) {
					t.Errorf("the message is for a programmer of the shim: %s", r)
				}
			}
			// ctr removes the container only after a successful create.
			ctr(t, "container", "rm", id)
		})
	}
}

// TestSpecErrors asks for what the shim does not do; the error names the field.
func TestSpecErrors(t *testing.T) {
	for name, c := range map[string]struct {
		spec oci.SpecOpts
		want []string
	}{
		"hook": {func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
			s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true"}}}
			return nil
		}, []string{"hooks.poststop"}},
		"namespace": {oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/nothing/here"}),
			[]string{"network", "/nothing/here"}},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			_, err := plan{guest: "hello-c", spec: []oci.SpecOpts{c.spec}}.tryCreate(t)
			if err == nil {
				t.Fatal("it was not refused")
			}
			t.Log(err)
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in the error: %v", want, err)
				}
			}
		})
	}
}

// TestTraps reads what a guest that went wrong leaves on stderr.
func TestTraps(t *testing.T) {
	for how, want := range map[string][]string{
		"divide":      {"integer divide by zero", "at divide(", "at main("},
		"unreachable": {"trapped: unreachable", "at main("},
		"bounds":      {"out of bounds memory access", "at out_of_bounds(", "at main("},
		// C's stack is in the memory, and this leaves it.
		"recursion": {"out of bounds memory access", "at recurse("},
	} {
		t.Run(how, func(t *testing.T) {
			leavesNothing(t)
			r := ctrRun(t, "trap", nil, how)
			r.wantCode(t, 134)
			r.wantStderr(t, append(want, "/trap.wasm", "trap.c:")...)
			if strings.Contains(r.stderr, "goroutine ") {
				t.Errorf("a Go stack is no help to a guest's author: %s", r)
			}
		})
	}
}
