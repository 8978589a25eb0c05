package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wasi"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// ErrStore says that an artifact could not be written to its file.
var ErrStore = errors.New("the artifact could not be written")

// Artifact says what Compile has written.
type Artifact struct {
	Size int64 // in bytes
	Sum  [sha256.Size]byte
}

// Compile makes the artifact of a module and writes it to the file from the
// offset on, which is a multiple of the page size. No guest code runs. Whatever
// can be said against the module for any container is said here, as Load would:
// the error is ErrStore or about the module, which it names.
func Compile(ctx context.Context, name string, module []byte, to *os.File, offset int64) (Artifact, error) {
	c, err := compile(ctx, module)
	if err != nil {
		return Artifact{}, blame(name, err)
	}
	size, sum, err := c.write(to, offset)
	runtime.KeepAlive(c) // or its code would be unmapped
	if err != nil {
		return Artifact{}, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return Artifact{size, sum}, nil
}

// compiled is a module in the form in which an artifact has it.
type compiled struct {
	module []byte // the stub where there is code, the original elsewhere
	native native // the code; empty where this engine cannot keep any
	image  []extent
	debug  map[string][]byte
	// entries are there where code is.
	entries entries

	// guest is whom the module's instance will call.
	guest *wasi.Host

	// file is the artifact's, if it comes from one, and shared says that its code
	// is mapped from there.
	file   *os.File
	shared bool
}

func (c *compiled) hasCode() bool { return len(c.native.code) > 0 }

// close closes the file once everything that is wanted is mapped.
func (c *compiled) close() {
	if c.file != nil {
		c.file.Close()
	}
}

// compile makes of a module what an artifact has.
func compile(ctx context.Context, module []byte) (_ *compiled, err error) {
	defer recoverFailure(&err)
	if module, err = admit(module); err != nil {
		return nil, err
	}
	original := &compiled{module: module}
	linked, err := original.linkWith(ctx, nil)
	if err != nil {
		return nil, err
	}
	code, unknown := nativeOf(linked.module)
	parts := split(module, uint64(os.Getpagesize()))
	// Tried here, where there is another way.
	if unknown == nil {
		unknown = setDebugInfo(linked.module, parts.debug)
	}
	if unknown == nil {
		_, unknown = cacheOf(oneEntry(nil))
	}
	if unknown != nil {
		return original, nil
	}
	return &compiled{module: parts.stub, native: code, image: parts.image, debug: parts.debug, entries: entriesOf(linked.module)}, nil
}

// linked is a module that wazero has compiled, or been given the code of, and
// that imports nothing but what there is.
type linked struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	shape   *shape
}

// link compiles the module where it has no code. private is the size in bytes
// of the code that no other process shares.
func (c *compiled) link(ctx context.Context) (l linked, private int, err error) {
	if !c.hasCode() {
		// codeGrowth bounds the size of machine code, by that of what it was
		// compiled from.
		const codeGrowth = 8
		if c.module, err = admit(c.module); err != nil {
			return l, 0, err
		}
		l, err = c.linkWith(ctx, nil)
		if err != nil {
			return l, 0, err
		}
		private = codeGrowth * len(l.shape.code)
		c.module, l.shape.code = nil, nil
		debug.FreeOSMemory()
		return l, private, nil
	}
	cache, err := cacheOf(oneEntry(c.native.entry))
	if err != nil {
		return l, 0, err
	}
	if l, err = c.linkWith(ctx, cache); err != nil {
		return l, 0, err
	}
	if err := c.native.give(l.module); err != nil {
		return l, 0, err
	}
	if err := setDebugInfo(l.module, c.debug); err != nil {
		return l, 0, err
	}
	if !c.shared {
		private = len(c.native.code)
	}
	return l, private, nil
}

// linkWith compiles the module, unless the cache has its code.
func (c *compiled) linkWith(ctx context.Context, cache wazero.CompilationCache) (l linked, err error) {
	l.shape = scan(c.module)
	if err := l.shape.supported(); err != nil {
		return l, err
	}
	config := runtimeConfig()
	if cache != nil {
		config = config.WithCompilationCache(cache)
	}
	l.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	host, err := provide(ctx, l.runtime, l.shape, cmp.Or(c.guest, new(wasi.Host)))
	if err != nil {
		return l, err
	}
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	if l.module, err = l.runtime.CompileModule(ctx, c.module); err != nil {
		return l, explain(err, l.shape)
	}
	if cache != nil {
		return l, nil // checked when the artifact was made
	}
	return l, host.checkTypes(l.module)
}
