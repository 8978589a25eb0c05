// Package engine runs one WebAssembly module in wazero. It is made for a
// process that does nothing else: the module's standard streams are the
// process's, its root directory is the process's, and a message about a module
// that failed goes to the process's standard error.
//
// The Go runtime cannot stop a thread that computes in compiled code. With
// GOMAXPROCS=1 and GODEBUG=asyncpreemptoff=1, which such a process is started
// with, nothing tries to: its collector begins in a host call of the guest's
// goroutine and waits for the next one. Measured so, a guest is as fast as
// without a collector, and the heap stays small: frequent host calls do not
// allocate.
package engine

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wasi"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// Config says what runs and how.
type Config struct {
	// Name is the module's path, for messages.
	Name string
	// Artifact is what Compile made of the module, from the offset on. Load
	// closes it, or Run where that is the first to make the guest's memory.
	Artifact       *os.File
	ArtifactOffset int64
	// Binary is the module where there is no artifact. Load keeps no reference
	// to it.
	Binary []byte
	// Function is the export that is called; empty means _start.
	Function string
	// Args and Env are the guest's; of a variable that occurs twice in Env the
	// last value counts. wasi-libc starts every program in "/", Go's in PWD: a
	// caller that has a working directory puts PWD into Env.
	Args, Env []string
	// MemoryLimit is the memory limit of the container's cgroup in bytes; 0 is
	// none. The guest's memory ends below it, so that a guest that asks for too
	// much sees memory.grow fail before the kernel kills the process.
	MemoryLimit int64
	// Listeners are sockets that listen and do not block. They become the guest's
	// descriptors behind its root directory.
	Listeners []int
}

// Instance is a loaded module. It lives as long as the process.
type Instance struct {
	name     string
	function string
	// instantiate makes the module an instance. Load has done so already,
	// unless the module's start section would have run guest code then.
	instantiate func(context.Context) (api.Module, error)
	module      api.Module
}

// Load links the module, compiled or not, with what it imports; no guest code
// runs. Its error is a sentence for the person who asked for the container: it
// names the module, what is wrong with it and, where there is one, the remedy.
//
// Load is called once in a process, before any other goroutine computes. It
// gives back to the kernel what compiling took.
func Load(ctx context.Context, cfg Config) (*Instance, error) {
	if cfg.Function == "" {
		cfg.Function = startFunction
	}
	instance, err := load(ctx, &cfg)
	if err != nil {
		return nil, blame(cfg.Name, err)
	}
	return instance, nil
}

// load does Load's work; it clears cfg.Binary, which then has no other owner
// than what it compiles.
func load(ctx context.Context, cfg *Config) (instance *Instance, err error) {
	defer recoverFailure(&err)
	code := &compiled{module: cfg.Binary}
	if cfg.Artifact != nil {
		if code, err = openArtifact(cfg.Artifact, cfg.ArtifactOffset); err != nil {
			return nil, fmt.Errorf("has an artifact that cannot be used: it %w", err)
		}
	}
	cfg.Binary = nil
	if code.guest, err = wasi.New(world(cfg)); err != nil {
		return nil, fmt.Errorf("cannot be given what it needs: %w", err)
	}
	linked, private, err := code.link(ctx)
	if err != nil {
		return nil, err
	}
	exported := code.entries
	if !code.hasCode() {
		exported = entriesOf(linked.module)
	}
	if err := exported.check(cfg.Function); err != nil {
		return nil, err
	}
	memory := &allocator{limit: share(cfg.MemoryLimit, private), image: code.image, file: code.file}
	if err := linked.shape.fits(memory.limit, cfg.MemoryLimit); err != nil {
		return nil, err
	}
	instance = &Instance{name: cfg.Name, function: cfg.Function}
	instance.instantiate = func(ctx context.Context) (module api.Module, err error) {
		defer recoverFailure(&err)
		defer code.close()
		ctx = experimental.WithMemoryAllocator(ctx, memory)
		return linked.runtime.InstantiateModule(ctx, linked.module, moduleConfig())
	}
	if linked.shape.hasStart {
		return instance, nil
	}
	if instance.module, err = instance.instantiate(ctx); err != nil {
		return nil, fmt.Errorf("cannot be instantiated: %w", err)
	}
	return instance, nil
}

// recoverFailure makes an error of what wazero and the allocator panic with
// where the kernel refuses them memory.
func recoverFailure(err *error) {
	if r := recover(); r != nil {
		*err = &hostFailure{fmt.Sprint(r)}
	}
}

// Run calls the entry function, and before it the initialize function of a
// reactor. It returns the exit code of the container: what the guest exited
// with, modulo 256 as for any process; the result of an entry function that
// has one, likewise; 134 where the guest trapped and 125 where the host failed
// it, both with a message on the standard error. It may be called once.
func (i *Instance) Run(ctx context.Context) int {
	// A guest may wait for another thread, of which there is none. Without a timer
	// Go takes that for a deadlock of the whole program, and ends it.
	defer time.AfterFunc(math.MaxInt64, func() {}).Stop()
	code, err := i.run(ctx)
	if err == nil {
		return code
	}
	message, code := outcome(i.name, err)
	fmt.Fprint(os.Stderr, message)
	return code
}

func (i *Instance) run(ctx context.Context) (code int, err error) {
	// wazero looks up source lines in a module's debug information after its own
	// recovery.
	defer recoverFailure(&err)
	if i.module == nil {
		module, err := i.instantiate(ctx)
		if err != nil {
			return 0, err
		}
		i.module = module
	}
	if initialize := i.module.ExportedFunction(initializeFunction); initialize != nil &&
		i.function != startFunction && i.function != initializeFunction {
		if _, err := initialize.Call(ctx); err != nil {
			return 0, err
		}
	}
	results, err := i.module.ExportedFunction(i.function).Call(ctx)
	if err != nil || len(results) == 0 {
		return 0, err
	}
	return exitCode(uint32(results[0])), nil
}
