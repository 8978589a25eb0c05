package sandbox

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/cache"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/modulefile"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	"golang.org/x/sys/unix"
)

// Precompiled says what Precompile found or made.
type Precompiled struct {
	Name   string // the module's: a path, or what Config.Module calls a layer
	Digest string // the module's
	Size   int64  // of the cache's entry, in bytes
	Made   bool   // by this call; it was there already otherwise
}

// Precompile puts the artifact of a module into the cache, as Create does for the
// first container that has the module. Of cfg, only Module, Layer, CacheDir,
// CacheSize, CompileTimeout, Compiling and Warn count: the process that compiles
// is in the caller's cgroup. root is the top folder of the root file system in
// which Module's paths are; it stays the caller's. That the artifact cannot be put
// into the cache is an error. Nothing is left of the processes: they are reaped
// here, so the caller must have no reaper.
func Precompile(ctx context.Context, root *os.File, cfg Config) (p Precompiled, err error) {
	var pids []int
	r := request{Config: &cfg, name: cfg.Module.Name, ahead: true}
	compiling := cfg.Compiling
	cfg.Compiling = func(pid int) error {
		pids = append(pids, pid)
		if r.settings == "" || compiling == nil {
			return nil
		}
		return compiling(pid)
	}
	defer func() {
		for _, pid := range pids {
			for {
				if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
					break
				}
			}
		}
	}()
	if len(cfg.Module.Paths) > 0 {
		if r.name, r.file, err = modulefile.Find(root, cfg.Module.Args[0], cfg.Module.Paths); err != nil {
			return p, err
		}
		defer r.file.Close()
		r.Rootfs = fmt.Sprintf("/proc/self/fd/%d", root.Fd())
		r.hash = func() (string, error) { return modulefile.Sum(r.file) }
	}
	if r.settings, err = settings(ctx, &cfg); err != nil {
		return p, err
	}
	entry, err := r.get(ctx)
	if err != nil {
		return p, err
	}
	defer entry.file.Close()
	info, err := entry.file.Stat()
	if err != nil {
		return p, err
	}
	p = Precompiled{Name: r.name, Size: info.Size(), Made: r.compiled != nil}
	if p.Made {
		p.Digest = r.compiled.Digest
		return p, nil
	}
	store, err := cache.Open(r.CacheDir, r.CacheSize)
	if err == nil {
		p.Digest, err = r.digest(store)
	}
	return p, err
}

// settings asks the sandbox's program for those of its engine, which is not a
// part of this one.
func settings(ctx context.Context, cfg *Config) (string, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer null.Close()
	answer, err := askCompiler(ctx, cfg, null, null, wire.Compile{Settings: true})
	if err == nil && answer.Settings == "" {
		err = fmt.Errorf("%s is of another version than this program: install both of one build", programName)
	}
	return answer.Settings, err
}
