// Package conformance runs programs that check WASI from within, by the standard
// libraries of C and of Go, on the sandbox's host, in wazero's compiler and in its
// interpreter. Each function with its flags and errors has its test beside the host,
// in package sandbox/wasi.
package conformance

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wasi"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// guests is where `make guests` puts the modules of all languages.
const guests = "../../.engines/guests"

var engines = map[string]func() wazero.RuntimeConfig{
	"compiler": wazero.NewRuntimeConfigCompiler, "interpreter": wazero.NewRuntimeConfigInterpreter,
}

func TestC(t *testing.T)  { conforms(t, "conform") }
func TestGo(t *testing.T) { conforms(t, "conform-go") }

// conforms runs a guest that is told a folder, and "ready" on its standard input.
func conforms(t *testing.T, name string) {
	module, err := os.ReadFile(filepath.Join(guests, name+".wasm"))
	if err != nil {
		t.Fatalf("%v: run `make guests`", err)
	}
	for engine, config := range engines {
		t.Run(engine, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "work"), 0o755); err != nil {
				t.Fatal(err)
			}
			output, code := run(t, config(), module, wasi.Config{
				Args: []string{name, "/work"}, Env: []string{"PWD=/"},
				Preopens: []wasi.Preopen{{Path: root, Name: "/"}},
			}, "ready")
			if output != "failures: 0\n" || code != 0 {
				t.Errorf("exit code %d, and it says:\n%s", code, output)
			}
		})
	}
}

// run runs a command and returns what it writes and its exit code.
func run(t *testing.T, config wazero.RuntimeConfig, module []byte, world wasi.Config, input string) (string, uint32) {
	t.Helper()
	in, inWriter := pipe(t)
	out, outWriter := pipe(t)
	if _, err := inWriter.WriteString(input); err != nil {
		t.Fatal(err)
	}
	inWriter.Close()
	world.Streams = [3]int{int(in.Fd()), int(outWriter.Fd()), int(outWriter.Fd())}
	host, err := wasi.New(world)
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(t.Context(), config.WithCoreFeatures(api.CoreFeaturesV2))
	defer r.Close(t.Context())
	compiled, err := r.CompileModule(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range compiled.ImportedFunctions() {
		_, name, _ := f.Import()
		names = append(names, name)
	}
	if _, err := host.Instantiate(t.Context(), r, wasi.Preview1, names); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(out)
		read <- string(all)
	}()
	_, err = r.InstantiateModule(t.Context(), compiled, wazero.NewModuleConfig())
	outWriter.Close()
	exit := (*sys.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	var code uint32
	if exit != nil {
		code = exit.ExitCode()
	}
	return <-read, code
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}
