package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
	"golang.org/x/sys/unix"
)

// A sandbox process owns its standard streams and its exit code, so what a
// guest does is seen in processes of its own: the test binary again, told by
// these variables what to be.
const (
	envModule   = "ENGINE_TEST_MODULE"
	envFunction = "ENGINE_TEST_FUNCTION"
	envLoadOnly = "ENGINE_TEST_LOAD_ONLY"
	// envArtifact is a file with the module's artifact, from artifactOffset on.
	envArtifact = "ENGINE_TEST_ARTIFACT"
	// envRoom limits the address space to what is used plus so many bytes.
	envRoom = "ENGINE_TEST_ROOM"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(envModule); path != "" {
		os.Exit(sandboxMain(path))
	}
	os.Exit(m.Run())
}

func sandboxMain(path string) int {
	binary, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	if room := os.Getenv(envRoom); room != "" {
		if err := limitAddressSpace(room); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 125
		}
	}
	cfg := Config{
		Name: "/guest.wasm", Binary: binary, Function: os.Getenv(envFunction),
		Args: append([]string{"guest"}, os.Args[1:]...),
		Env:  slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ENGINE_TEST_") }),
	}
	if artifact := os.Getenv(envArtifact); artifact != "" {
		cfg.Binary, cfg.ArtifactOffset = nil, artifactOffset
		if cfg.Artifact, err = os.Open(artifact); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 125
		}
	}
	instance, err := Load(context.Background(), cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	if os.Getenv(envLoadOnly) != "" {
		return 0
	}
	return instance.Run(context.Background())
}

// artifactOffset is where tests have artifacts begin in their files.
var artifactOffset = int64(os.Getpagesize())

func limitAddressSpace(room string) error {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	var pages, more uint64
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		return err
	}
	if _, err := fmt.Sscan(room, &more); err != nil {
		return err
	}
	limit := pages*uint64(os.Getpagesize()) + more
	return unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: limit})
}

// sandbox is one run of a module in a process of its own.
type sandbox struct {
	module   []byte
	function string
	args     []string
	env      []string
	stdin    string
}

type result struct {
	stdout, stderr string
	code           int
}

// run runs the module as it is and from its artifact, and expects no difference.
func (s sandbox) run(t *testing.T) result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guest.wasm")
	if err := os.WriteFile(path, s.module, 0o644); err != nil {
		t.Fatal(err)
	}
	result := s.runAs(t, envModule+"="+path)
	artifact, err := os.Create(path + ".artifact")
	if err != nil {
		t.Fatal(err)
	}
	defer artifact.Close()
	if _, err := Compile(t.Context(), "/guest.wasm", s.module, artifact, artifactOffset); err != nil {
		if text := err.Error() + "\n"; text != result.stderr {
			t.Errorf("compiling says %q, loading %q", text, result.stderr)
		}
		return result
	}
	if got := s.runAs(t, envModule+"="+path, envArtifact+"="+artifact.Name()); got != result {
		t.Errorf("from its artifact: stdout %q, stderr %q, exit %d\nas it is:          stdout %q, stderr %q, exit %d",
			got.stdout, got.stderr, got.code, result.stdout, result.stderr, result.code)
	}
	return result
}

func (s sandbox) runAs(t *testing.T, env ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], s.args...)
	cmd.Env = slices.Concat([]string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1", envFunction + "=" + s.function}, env, s.env)
	cmd.Stdin = strings.NewReader(s.stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (r result) expect(t *testing.T, want result) {
	t.Helper()
	if r != want {
		t.Errorf("got  stdout %q, stderr %q, exit %d\nwant stdout %q, stderr %q, exit %d",
			r.stdout, r.stderr, r.code, want.stdout, want.stderr, want.code)
	}
}

// Types of the functions in the modules below.
const (
	typeVoid  = iota // [] -> []
	typeCode         // [] -> [i32]
	typeExit         // [i32] -> []
	typeWrite        // [i32 i32 i32 i32] -> [i32]
	typeClock        // [i32 i64 i32] -> [i32]
	typePair         // [i32 i32] -> [i32]
	typeStat         // [i32 i32 i32 i32 i32] -> [i32]
)

func types() []byte {
	return asm.Section(asm.TypeSection,
		asm.FuncType("", ""), asm.FuncType("", "\x7f"), asm.FuncType("\x7f", ""),
		asm.FuncType("\x7f\x7f\x7f\x7f", "\x7f"), asm.FuncType("\x7f\x7e\x7f", "\x7f"),
		asm.FuncType("\x7f\x7f", "\x7f"), asm.FuncType("\x7f\x7f\x7f\x7f\x7f", "\x7f"))
}

// The functions that guest imports, by index; its own follow.
const (
	fnExit = iota
	fnWrite
	fnClock
	fnRandom
	fnStat
	fnOwn
)

// function is one function of a guest, exported by its name where it has one.
type function struct {
	name string
	typ  uint64
	code []byte
}

// guest is a module with WASI imports, a memory of one page and functions; the
// last sections follow the code. A start section names an own function.
func guest(start int, data []byte, functions ...function) []byte {
	const wasi = "wasi_snapshot_preview1"
	var indexes, exports, bodies [][]byte
	for i, f := range functions {
		indexes = append(indexes, asm.U(f.typ))
		bodies = append(bodies, f.code)
		if f.name != "" {
			exports = append(exports, asm.Export(f.name, asm.Func, uint64(fnOwn+i)))
		}
	}
	exports = append(exports, asm.Export("memory", asm.Memory, 0))
	var startSection []byte
	if start >= 0 {
		startSection = asm.Raw(asm.StartSection, asm.U(uint64(fnOwn+start)))
	}
	return asm.Module(
		types(),
		asm.Section(asm.ImportSection,
			asm.Import(wasi, "proc_exit", asm.Func, typeExit),
			asm.Import(wasi, "fd_write", asm.Func, typeWrite),
			asm.Import(wasi, "clock_time_get", asm.Func, typeClock),
			asm.Import(wasi, "random_get", asm.Func, typePair),
			asm.Import(wasi, "path_filestat_get", asm.Func, typeStat)),
		asm.Section(asm.FunctionSection, indexes...),
		asm.Section(asm.MemorySection, []byte{0, 1}),
		asm.Section(asm.ExportSection, exports...),
		startSection,
		asm.Section(asm.CodeSection, bodies...),
		data,
	)
}

const noStart = -1

// texts is a data section with an iovec for each text, and a function's
// instructions that print the n-th text.
func texts(all ...string) (data []byte, print func(n int) []byte) {
	var iovecs, content []byte
	offset := 8 * len(all)
	for _, text := range all {
		for _, n := range []int{offset + len(content), len(text)} {
			iovecs = append(iovecs, byte(n), byte(n>>8), 0, 0)
		}
		content = append(content, text...)
	}
	data = asm.Section(asm.DataSection, asm.Data(0, string(iovecs)+string(content)))
	return data, func(n int) []byte {
		return asm.Join(asm.Const(1), asm.Const(int64(8*n)), asm.Const(1), asm.Const(60000),
			asm.Op(asm.Call, fnWrite), asm.Op(asm.Drop))
	}
}

// goGuest compiles one of the guests that are written in Go.
func goGuest(t *testing.T, name string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../test/guests/go/"+name)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	module, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return module
}
