package engine

import (
	"os"
	"runtime"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/cpu"
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

// moduleConfig is what the guest sees of the world.
func moduleConfig(cfg *Config) wazero.ModuleConfig {
	config := wazero.NewModuleConfig().
		// Without a name of its own a guest cannot clash with the host's modules.
		WithName("").
		// Run calls the entry function.
		WithStartFunctions().
		WithArgs(cfg.Args...).
		WithStdin(os.Stdin).WithStdout(os.Stdout).WithStderr(os.Stderr).
		// The process is in the container's root already. wasi-libc takes a
		// preopen of "." for one of "/", so one is all there can be.
		WithFSConfig(wazero.NewFSConfig().WithDirMount("/", "/")).
		WithSysWalltime().WithSysNanotime().WithSysNanosleep().
		WithRandSource(kernelRandom{})
	for _, variable := range cfg.Env {
		key, value, _ := strings.Cut(variable, "=")
		config = config.WithEnv(key, value)
	}
	return config
}
