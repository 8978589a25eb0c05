package command

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

// command runs the program, which shall succeed, and returns what it printed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, messages, code := try(t, args...)
	if code != 0 {
		t.Fatalf("wasm-image %s: exit code %d\n%s", strings.Join(args, " "), code, messages)
	}
	return strings.TrimSuffix(out, "\n")
}

func try(t *testing.T, args ...string) (out, messages string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

// fails runs the program, which shall say all of these and exit with 1.
func fails(t *testing.T, args []string, want ...string) {
	t.Helper()
	_, messages, code := try(t, args...)
	if code != 1 {
		t.Errorf("wasm-image %s: exit code %d, not 1\n%s", strings.Join(args, " "), code, messages)
	}
	for _, part := range want {
		if !strings.Contains(messages, part) {
			t.Errorf("wasm-image %s: %q is not in\n%s", strings.Join(args, " "), part, messages)
		}
	}
}

// module writes a module that exports _start and run, and returns its path.
func module(t *testing.T) string {
	t.Helper()
	data := asm.Module(
		asm.Section(asm.TypeSection, asm.FuncType("", "")),
		asm.Section(asm.FunctionSection, asm.U(0)),
		asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 0), asm.Export("run", asm.Func, 0)),
		asm.Section(asm.CodeSection, asm.Code(0)))
	return write(t, "app.wasm", data)
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// serve runs a registry on loopback, behind a handler if there is one, and
// returns its host and port.
func serve(t *testing.T, around func(http.Handler) http.Handler) string {
	t.Helper()
	var handler http.Handler = registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if around != nil {
		handler = around(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
