package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"

	"github.com/tetratelabs/wazero/api"
)

// The ways to start a module.
const (
	wayCold     = "cold"
	wayWazero   = "wazero"
	wayArtifact = "artifact"
)

const (
	wayVariable  = "STARTUP_WAY"
	holdVariable = "STARTUP_HOLD"
	artifactName = "artifact"
	// holding is what a process prints once its guest has ended, if it is to stay.
	holding = "holding"
)

// child loads a module and runs it, in a process like a sandbox's.
func child(way string) int {
	begin := now()
	path, dir := os.Args[1], os.Args[2]
	var code int
	var err error
	if way == wayWazero {
		err = withWazero(path, filepath.Join(dir, "wazero"))
	} else {
		code, err = withEngine(way, path, filepath.Join(dir, artifactName), begin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if os.Getenv(holdVariable) == "true" {
		fmt.Println("\n" + holding)
		time.Sleep(time.Hour)
	}
	return code
}

func withEngine(way, path, artifact string, begin time.Duration) (int, error) {
	cfg := engine.Config{Name: path, Args: []string{path}}
	var err error
	if way == wayArtifact {
		cfg.Artifact, err = os.Open(artifact)
	} else {
		cfg.Binary, err = os.ReadFile(path)
	}
	if err != nil {
		return 0, err
	}
	ctx := context.Background()
	if os.Getenv(marksVariable) == "" {
		instance, err := engine.Load(ctx, cfg)
		if err != nil {
			return 0, err
		}
		return instance.Run(ctx), nil
	}
	w := &watch{ctx, map[string][]time.Duration{}}
	instance, err := engine.Load(w, cfg)
	loaded := now()
	if err != nil {
		return 0, err
	}
	code := instance.Run(ctx)
	marks, err := w.marks(begin, loaded)
	if err != nil {
		return 0, err
	}
	return code, json.NewEncoder(os.NewFile(marksFD, "marks")).Encode(marks)
}

// withWazero is what a program does that uses wazero as its documentation says.
func withWazero(path, cacheDir string) error {
	ctx := context.Background()
	module, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
	if err != nil {
		return err
	}
	config := wazero.NewRuntimeConfig().WithCompilationCache(cache).WithCoreFeatures(api.CoreFeaturesV2 |
		experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesExceptionHandling)
	runtime := wazero.NewRuntimeWithConfig(ctx, config)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, runtime); err != nil {
		return err
	}
	compiled, err := runtime.CompileModule(ctx, module)
	if err != nil {
		return err
	}
	_, err = runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithArgs(path).
		WithStdout(os.Stdout).WithStderr(os.Stderr).WithSysWalltime().WithSysNanotime().WithSysNanosleep())
	if exit := (*sys.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 0 {
		return nil
	}
	return err
}
