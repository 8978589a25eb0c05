package engine

import (
	"runtime"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wasi"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// runtimeConfig is how wazero compiles: everything it can, on whatever the CPU
// can. It chooses the interpreter by itself where it has no compiler for the
// CPU. WithCloseOnContextDone stays off: it makes a guest several times
// slower, and a guest ends with its process.
func runtimeConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().
		WithCoreFeatures(coreFeatures()).
		WithDebugInfoEnabled(true) // what there is of it: see trim
}

func coreFeatures() api.CoreFeatures {
	features := api.CoreFeaturesV2 |
		experimental.CoreFeaturesTailCall |
		experimental.CoreFeaturesExtendedConst |
		experimental.CoreFeaturesExceptionHandling |
		experimental.CoreFeaturesTypedFunctionReferences
	// Threads on an arm64 CPU without the atomic instructions of ARMv8.1 would
	// make wazero interpret every module, threads or not.
	if runtime.GOARCH != "arm64" || cpu.ARM64.HasATOMICS {
		features |= experimental.CoreFeaturesThreads
	}
	return features
}

// moduleConfig is how a module becomes an instance.
func moduleConfig() wazero.ModuleConfig {
	return wazero.NewModuleConfig().
		// Without a name of its own a guest cannot clash with the host's modules.
		WithName("").
		// Run calls the entry function.
		WithStartFunctions()
}

// world is what the guest sees of the world.
func world(cfg *Config) wasi.Config {
	return wasi.Config{
		Args: cfg.Args, Env: cfg.Env,
		Streams: [3]int{unix.Stdin, unix.Stdout, unix.Stderr},
		// The process is in the container's root already. wasi-libc takes a
		// preopen of "." for one of "/", so one is all there can be.
		Preopens: []wasi.Preopen{{Path: "/", Name: "/"}},
		Sockets:  cfg.Listeners,
	}
}
