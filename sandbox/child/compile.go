package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/modulefile"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/seccomp"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
)

// compile is the life of a process that makes an artifact. It never runs what it
// compiles, so that what it writes can be given to any container; and should a
// module get the better of the compiler, the process has nothing but its three
// descriptors.
func compile(control *os.File) int {
	var job wire.Compile
	if code, ok := receive(control, &job); !ok {
		return code
	}
	if job.Settings {
		if wire.Send(control, wire.Compiled{Settings: engine.Settings()}) != nil {
			return exitSetup
		}
		return 0
	}
	compiled, err := artifact(&job)
	if err != nil {
		compiled.Error, compiled.NoRoom = err.Error(), errors.Is(err, engine.ErrStore)
	}
	if wire.Send(control, compiled) != nil || err != nil {
		return exitSetup
	}
	return 0
}

func artifact(job *wire.Compile) (c wire.Compiled, err error) {
	limitMemory(job.MemoryLimit)
	if err := jail.EnterNothing(); err != nil {
		return c, fmt.Errorf("the compiler's jail: %w", err)
	}
	filter, err := seccomp.Compiler()
	if err == nil {
		err = seccomp.Install(filter, 0)
	}
	if err != nil {
		return c, fmt.Errorf("the compiler's system-call filter: %w", err)
	}
	file := os.NewFile(wire.ModuleFD, "module")
	defer file.Close() // and not when the collector finds that it has been read
	module, digest, err := modulefile.Read(file)
	if err != nil {
		return c, fmt.Errorf("module %s: %w", job.Name, err)
	}
	made, err := engine.Compile(context.Background(), job.Name, module, os.NewFile(wire.ArtifactFD, "artifact"), job.Offset)
	return wire.Compiled{Digest: digest, Size: made.Size, Sum: made.Sum[:]}, err
}

// limitMemory has the collector keep the heap below a container's limit, as long
// as that can be done, and leave room for what is not heap.
func limitMemory(limit int64) {
	if limit <= 0 {
		return
	}
	debug.SetMemoryLimit(limit / 4 * 3)
	// Each thread compiles a function of its own.
	const enoughForMore = 512 << 20
	if limit < enoughForMore {
		runtime.GOMAXPROCS(1)
	}
}
