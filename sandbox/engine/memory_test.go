package engine

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

const mib = 1 << 20

// growing is a module that grows its memory by 1 MiB until that fails.
func growing() []byte {
	return guest(noStart, nil, function{"_start", typeVoid, asm.Code(0,
		asm.Op(asm.Loop, asm.Void),
		asm.Const(mib/pageSize), asm.Op(asm.MemoryGrow, 0),
		asm.Const(-1), asm.Op(asm.I32Ne), asm.Op(asm.BrIf, 0),
		asm.Op(asm.End))})
}

func TestMemoryEndsBelowTheLimit(t *testing.T) {
	const limit = 96 * mib
	instance, err := Load(t.Context(), Config{Name: "guest", Binary: growing(), MemoryLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	if code := instance.Run(t.Context()); code != 0 {
		t.Fatalf("exit %d", code)
	}
	if size := instance.module.Memory().Size(); size < limit/2 || size > limit-8*mib {
		t.Errorf("under a limit of %s the guest got %s", mebibytes(limit), mebibytes(uint64(size)))
	}
}

func TestMemoryWithoutLimitHasAllAddresses(t *testing.T) {
	instance, err := Load(t.Context(), Config{Name: "guest", Binary: growing()})
	if err != nil {
		t.Fatal(err)
	}
	if code := instance.Run(t.Context()); code != 0 {
		t.Fatalf("exit %d", code)
	}
	// One page came before the steps of 1 MiB, so that the last step is too much.
	if pages, want := instance.module.Memory().(interface{ Pages() uint32 }).Pages(), uint32(65536-15); pages != want {
		t.Errorf("the guest got %d pages, want %d", pages, want)
	}
}

func TestMemoryUnderLimitedAddressSpace(t *testing.T) {
	room := func(n int) []string { return []string{fmt.Sprintf("%s=%d", envRoom, n)} }
	sandbox{module: growing(), env: room(1024 * mib)}.run(t).expect(t, result{})

	large := asm.Module(
		asm.Section(asm.TypeSection, asm.FuncType("", "")),
		asm.Section(asm.FunctionSection, asm.U(0)),
		asm.Section(asm.MemorySection, append([]byte{0}, asm.U(1024*mib/pageSize)...)),
		asm.Section(asm.ExportSection, asm.Export("_start", asm.Func, 0)),
		asm.Section(asm.CodeSection, asm.Code(0)))
	got := sandbox{module: large, env: room(512 * mib)}.run(t)
	const want = "module /guest.wasm cannot be instantiated: no memory of 1024 MiB for the guest: cannot allocate memory; " +
		"is there a limit on address space (process.rlimits, RLIMIT_AS)?\n"
	got.expect(t, result{stderr: want, code: 125})
}

func TestAllocatorNeverMoves(t *testing.T) {
	a := &allocator{limit: 64 * mib}
	m := a.Allocate(pageSize, 1<<32)
	first := m.Reallocate(pageSize)
	copy(first, "kept")
	grown := m.Reallocate(32 * mib)
	if unsafe.SliceData(grown) != unsafe.SliceData(first) || string(grown[:4]) != "kept" || len(grown) != 32*mib {
		t.Errorf("growing moved the memory, lost its content or gave %d bytes", len(grown))
	}
	grown[32*mib-1] = 1
	if m.Reallocate(64*mib+pageSize) != nil {
		t.Error("a memory grew past the limit")
	}
	m.Free()
}

func TestAllocatorsMemoriesShareTheLimit(t *testing.T) {
	a := &allocator{limit: 4 * mib}
	one, two := a.Allocate(0, 4*mib), a.Allocate(0, 4*mib)
	if one.Reallocate(3*mib) == nil {
		t.Fatal("the first memory got nothing")
	}
	if two.Reallocate(2*mib) != nil {
		t.Error("two memories have more than the limit together")
	}
	one.Free()
	if two.Reallocate(2*mib) == nil {
		t.Error("what the first memory gave back is lost")
	}
	two.Free()
}

func TestStartsAboveTheLimit(t *testing.T) {
	module := guest(noStart, nil, function{"_start", typeVoid, asm.Code(0)})
	_, err := Load(t.Context(), Config{Name: "guest", Binary: module, MemoryLimit: 4 * mib})
	const want = "module guest wants to start with 0.0625 MiB of memory; of the container's limit of 4 MiB, 0 MiB are left for it: raise the limit"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
