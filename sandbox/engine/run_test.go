package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		exit int64
		want int
	}{{0, 0}, {3, 3}, {255, 255}, {256, 0}, {-1, 255}} {
		t.Run(strconv.FormatInt(c.exit, 10), func(t *testing.T) {
			module := guest(noStart, nil, function{"_start", typeVoid,
				asm.Code(0, asm.Const(c.exit), asm.Op(asm.Call, fnExit))})
			sandbox{module: module}.run(t).expect(t, result{code: c.want})
		})
	}
}

func TestReturnFromStart(t *testing.T) {
	data, print := texts("hello\n")
	module := guest(noStart, data, function{"_start", typeVoid, asm.Code(0, print(0))})
	sandbox{module: module}.run(t).expect(t, result{stdout: "hello\n"})
}

func TestResultIsExitCode(t *testing.T) {
	module := guest(noStart, nil, function{"seven", typeCode, asm.Code(0, asm.Const(7))})
	sandbox{module: module, function: "seven"}.run(t).expect(t, result{code: 7})
}

func TestReactorIsInitialized(t *testing.T) {
	data, print := texts("initialize\n", "run\n")
	module := guest(noStart, data,
		function{"_initialize", typeVoid, asm.Code(0, print(0))},
		function{"run", typeVoid, asm.Code(0, print(1))})
	sandbox{module: module, function: "run"}.run(t).expect(t, result{stdout: "initialize\nrun\n"})
	sandbox{module: module, function: "_initialize"}.run(t).expect(t, result{stdout: "initialize\n"})
}

func TestStartSectionWaitsForRun(t *testing.T) {
	data, print := texts("start section\n", "entry\n")
	module := guest(0, data,
		function{"", typeVoid, asm.Code(0, print(0))},
		function{"_start", typeVoid, asm.Code(0, print(1))})
	sandbox{module: module, env: []string{envLoadOnly + "=1"}}.run(t).expect(t, result{})
	sandbox{module: module}.run(t).expect(t, result{stdout: "start section\nentry\n"})
}

func TestStartSectionCanExit(t *testing.T) {
	module := guest(0, nil,
		function{"", typeVoid, asm.Code(0, asm.Const(9), asm.Op(asm.Call, fnExit))},
		function{"_start", typeVoid, asm.Code(0)})
	sandbox{module: module}.run(t).expect(t, result{code: 9})
}

func TestTraps(t *testing.T) {
	// Function 0 calls function 1, which fails.
	failing := func(start int, instructions ...[]byte) []byte {
		return asm.Join(guest(start, nil,
			function{"_start", typeVoid, asm.Code(0, asm.Op(asm.Call, fnOwn+1))},
			function{"", typeVoid, asm.Code(0, instructions...)}),
			asm.Custom("name", asm.Raw(1, asm.Vec(
				asm.Join(asm.U(fnOwn), asm.Bytes("outer")),
				asm.Join(asm.U(fnOwn+1), asm.Bytes("inner"))))))
	}
	unreachable := asm.Op(asm.Unreachable)
	outOfBounds := asm.Join(asm.Const(65533), asm.Const(0), asm.Op(asm.I32Store, 2, 0))
	endless := asm.Op(asm.Call, fnOwn+1)
	const stack = "    at inner()\n    at outer()\n"
	for _, c := range []struct {
		name   string
		module []byte
		stderr string
	}{
		{"unreachable", failing(noStart, unreachable), "unreachable\n" + stack},
		{"out of bounds", failing(noStart, outOfBounds), "out of bounds memory access\n" + stack},
		{"stack overflow", failing(noStart, endless), "stack overflow\n"},
		{"start section", failing(1, unreachable), "unreachable\n    at inner()\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sandbox{module: c.module}.run(t).expect(t,
				result{stderr: "wasm-sandbox: module /guest.wasm trapped: " + c.stderr, code: 134})
		})
	}
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		name, err, message string
		code               int
	}{
		{"source lines and omitted frames",
			"wasm error: unreachable\nwasm stack trace:\n\t.f(i32) i32\n\t\t0x1: a.c:1:2\n\t... maybe followed by omitted frames",
			"wasm-sandbox: module m trapped: unreachable\n    at f(i32) i32\n        0x1: a.c:1:2\n    ...\n", 134},
		{"host function",
			"index out of range (recovered by wazero)\nwasm stack trace:\n\tm.f()\n\nGo runtime stack trace:\ngoroutine 1",
			"wasm-sandbox: module m: the runtime failed: index out of range\n    at m.f()\n", 125},
	} {
		t.Run(c.name, func(t *testing.T) {
			message, code := outcome("m", errorString(c.err))
			if message != c.message || code != c.code {
				t.Errorf("got %q, %d\nwant %q, %d", message, code, c.message, c.code)
			}
		})
	}
}

type errorString string

func (e errorString) Error() string { return string(e) }

func TestGoGuest(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "here"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	files := goGuest(t, "gofiles")
	pwd := []string{"PWD=/nowhere", "PWD=" + dir}
	sandbox{module: files, args: []string{"cwd"}, env: pwd}.run(t).expect(t, result{stdout: dir + "\n"})
	sandbox{module: files, args: []string{"read", "here"}, env: pwd}.run(t).expect(t, result{stdout: "content"})

	text := strings.Repeat("All the bytes arrive.\n", 1<<16)
	sandbox{module: goGuest(t, "gocat"), stdin: text}.run(t).expect(t, result{stdout: text})
}

func TestClocksAndRandomnessAreReal(t *testing.T) {
	clock := func(id, at int64) []byte {
		return asm.Join(asm.Const(id), asm.Op(asm.I64Const, 1), asm.Const(at),
			asm.Op(asm.Call, fnClock), asm.Op(asm.Drop))
	}
	module := guest(noStart, nil, function{"_start", typeVoid, asm.Code(0, clock(0, 0), clock(1, 8),
		asm.Const(16), asm.Const(16), asm.Op(asm.Call, fnRandom), asm.Op(asm.Drop))})
	first, second := memoryAfterRun(t, module), memoryAfterRun(t, module)
	for _, memory := range [][]byte{first, second} {
		if off := time.Since(time.Unix(0, int64(binary.LittleEndian.Uint64(memory)))); off.Abs() > time.Hour {
			t.Errorf("the guest's wall clock is off by %v", off)
		}
	}
	if a, b := binary.LittleEndian.Uint64(first[8:]), binary.LittleEndian.Uint64(second[8:]); a == b {
		t.Errorf("the monotonic clock stands at %d", a)
	}
	if bytes.Equal(first[16:32], second[16:32]) || bytes.Equal(first[16:32], make([]byte, 16)) {
		t.Errorf("random numbers are % x, then % x", first[16:32], second[16:32])
	}
}

// memoryAfterRun runs a module in this process; it must not print.
func memoryAfterRun(t *testing.T, module []byte) []byte {
	t.Helper()
	instance, err := Load(t.Context(), Config{Name: "guest", Binary: module})
	if err != nil {
		t.Fatal(err)
	}
	if code := instance.Run(context.Background()); code != 0 {
		t.Fatalf("exit %d", code)
	}
	memory, _ := instance.module.Memory().Read(0, 256)
	return memory
}

// Host calls must not allocate, because guests never stop for the collector.
func TestHeapStaysAsItIs(t *testing.T) {
	const calls = 300_000
	data := asm.Section(asm.DataSection, asm.Data(0, "etc"))
	module := guest(noStart, data, function{"_start", typeVoid, asm.Code(1,
		asm.Op(asm.Loop, asm.Void),
		asm.Const(3), asm.Const(0), asm.Const(0), asm.Const(3), asm.Const(64), asm.Op(asm.Call, fnStat), asm.Op(asm.Drop),
		asm.Op(asm.LocalGet, 0), asm.Const(1), asm.Op(asm.I32Add), asm.Op(asm.LocalTee, 0),
		asm.Const(calls), asm.Op(asm.I32LtU), asm.Op(asm.BrIf, 0),
		asm.Op(asm.End))})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	memory := memoryAfterRun(t, module)
	runtime.ReadMemStats(&after)
	if memory[64+16] != 3 {
		t.Fatal("the calls have not found the directory /etc")
	}
	const mib = 1 << 20
	if allocated := (after.TotalAlloc - before.TotalAlloc) / mib; allocated > 8 {
		t.Errorf("%d calls and what it takes to load a module allocated %d MiB", calls, allocated)
	}
}
