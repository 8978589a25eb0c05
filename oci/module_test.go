package oci

import (
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestResolve(t *testing.T) {
	tests := []struct {
		name    string
		process specs.Process
		want    Module
	}{
		{"absolute path", specs.Process{Args: []string{"/app.wasm", "-v"}, Cwd: "/"},
			Module{Paths: []string{"/app.wasm"}, Args: []string{"/app.wasm", "-v"}}},
		{"function", specs.Process{Args: []string{"/app.wasm#run", "x"}},
			Module{Paths: []string{"/app.wasm"}, Function: "run", Args: []string{"/app.wasm", "x"}}},
		{"a function's name may hold a hash", specs.Process{Args: []string{"/app.wasm#wasi:cli/run@0.2.0#run"}},
			Module{Paths: []string{"/app.wasm"}, Function: "wasi:cli/run@0.2.0#run", Args: []string{"/app.wasm"}}},
		{"relative to the working directory", specs.Process{Args: []string{"./bin/app.wasm"}, Cwd: "/srv"},
			Module{Paths: []string{"/srv/bin/app.wasm"}, Args: []string{"./bin/app.wasm"}}},
		{"dots do not leave the root", specs.Process{Args: []string{"../../../app.wasm"}, Cwd: "/srv"},
			Module{Paths: []string{"/app.wasm"}, Args: []string{"../../../app.wasm"}}},
		{"a name along PATH, then the working directory, then the root",
			specs.Process{Args: []string{"app.wasm"}, Cwd: "/srv", Env: []string{"PATH=/x", "PATH=/usr/bin:/bin:relative:/bin"}},
			Module{Paths: []string{"/usr/bin/app.wasm", "/bin/app.wasm", "/srv/app.wasm", "/app.wasm"}, Args: []string{"app.wasm"}}},
		{"a name without PATH", specs.Process{Args: []string{"app.wasm"}, Cwd: "/"},
			Module{Paths: []string{"/app.wasm"}, Args: []string{"app.wasm"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Resolve(&specs.Spec{Process: &test.process})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestDockerInit passes Docker's init over where Docker has mounted it, and runs
// what only has its name.
func TestDockerInit(t *testing.T) {
	spec := specs.Spec{
		Process: &specs.Process{Args: []string{"/sbin/docker-init", "--", "/app.wasm#run", "--", "x"}},
		Mounts:  []specs.Mount{{Destination: "/sbin/docker-init", Type: "bind"}},
	}
	got, err := Resolve(&spec)
	if want := (Module{Paths: []string{"/app.wasm"}, Function: "run", Args: []string{"/app.wasm", "--", "x"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	spec.Mounts = nil
	got, err = Resolve(&spec)
	if want := []string{"/sbin/docker-init"}; err != nil || !reflect.DeepEqual(got.Paths, want) {
		t.Errorf("got %+v, %v, want %q", got, err, want)
	}
}

func TestResolveRefuses(t *testing.T) {
	tests := []struct {
		name string
		spec specs.Spec
		want string
	}{
		{"no process", specs.Spec{}, "process: the runtime spec has none"},
		{"no arguments", specs.Spec{Process: &specs.Process{}}, "process.args: empty"},
		{"an empty argument", specs.Spec{Process: &specs.Process{Args: []string{""}}}, "process.args: empty"},
		{"no module", specs.Spec{Process: &specs.Process{Args: []string{"#run"}}}, "names a function but no module"},
		{"no function", specs.Spec{Process: &specs.Process{Args: []string{"/app.wasm#"}}}, "nothing after the '#'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Resolve(&test.spec); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
