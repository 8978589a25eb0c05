package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/cache"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	"golang.org/x/sys/unix"
)

// Layer is a module that is not in the root file system.
type Layer struct {
	// Digest is that of the content, as image manifests write it.
	Digest string
	// Open returns a file with the content, which the caller closes. It is called
	// where there is no artifact yet.
	Open func(context.Context) (*os.File, error)
}

// request is one sandbox's need of an artifact.
type request struct {
	*Config
	name     string // the module's, for error messages
	settings string // of the engine that asks
	// file has the module where it is in the root file system; nil for a layer.
	file *os.File
	// hash has the sandbox process read the file.
	hash func() (digest string, err error)
	// ahead says that no container waits for it yet, so that an artifact which
	// cannot be in the store is of no use.
	ahead bool
	// compiled is what a process has compiled for the request; nil where none has.
	compiled *wire.Compiled
}

// patience is how long a container waits for another that compiles the same
// module. The other may have next to no processor time, and by intent.
const patience = 30 * time.Second

// artifact is a file with an artifact, opened for reading.
type artifact struct {
	file   *os.File
	offset int64
}

// get returns the artifact, made if need be. The caller closes it.
func (r *request) get(ctx context.Context) (artifact, error) {
	if r.CacheDir == "" {
		return r.compileAside(ctx)
	}
	store, err := cache.Open(r.CacheDir, r.CacheSize)
	if err != nil {
		return r.without(ctx, err)
	}
	digest, err := r.digest(store)
	if err != nil {
		return artifact{}, err
	}
	key := cache.KeyFor(r.settings, digest)
	if file := store.Get(key); file != nil {
		return artifact{file, cache.Offset}, nil
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	unlock, err := store.Lock(waiting, key)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return artifact{}, fmt.Errorf("module %s: waiting for another container that compiles it: %w", r.name, err)
	case waiting.Err() != nil:
		unlock = func() {}
	default:
		return r.without(ctx, err)
	}
	defer unlock()
	if file := store.Get(key); file != nil {
		return artifact{file, cache.Offset}, nil
	}
	return r.fill(ctx, store)
}

// digest returns the module's.
func (r *request) digest(store *cache.Store) (string, error) {
	if r.file == nil {
		return r.Layer.Digest, nil
	}
	known := store.File(r.file, r.Rootfs, r.RootfsLayers)
	if digest, ok := known.Digest(); ok {
		return digest, nil
	}
	digest, err := r.hash()
	if err != nil {
		return "", err
	}
	if err := known.Remember(digest); err != nil {
		r.warn(err)
	}
	return digest, nil
}

// fill has the module compiled and puts the artifact into the store.
func (r *request) fill(ctx context.Context, store *cache.Store) (artifact, error) {
	file, err := store.New()
	if err != nil {
		return r.without(ctx, err)
	}
	defer file.Close()
	made, err := r.compile(ctx, file, cache.Offset)
	if err != nil {
		os.Remove(file.Name())
	}
	switch {
	case errors.Is(err, errNoRoom):
		return r.without(ctx, err)
	case err != nil:
		return artifact{}, err
	}
	// By the digest of what was compiled, whatever the file had before.
	entry, err := put(store, file, cache.KeyFor(r.settings, made.Digest), made)
	switch {
	case err == nil:
		return artifact{entry, cache.Offset}, nil
	case r.ahead:
		return artifact{}, r.useless(err)
	}
	// The artifact is as good as if it had come from the store.
	r.warn(err)
	entry, err = reopen(file)
	return artifact{entry, cache.Offset}, err
}

// put makes the file an entry of the store, and opens that. On an error the file
// has no name any more.
func put(store *cache.Store, file *os.File, key cache.Key, made wire.Compiled) (entry *os.File, err error) {
	if err := store.Put(file, key, made.Size, [32]byte(made.Sum)); err != nil {
		os.Remove(file.Name())
		return nil, err
	}
	if entry = store.Get(key); entry == nil {
		return nil, errors.New("what was put there is gone")
	}
	return entry, nil
}

// without does without the store, if it may, for the reason that it warns of.
func (r *request) without(ctx context.Context, reason error) (artifact, error) {
	if r.ahead {
		return artifact{}, r.useless(reason)
	}
	r.warn(reason)
	return r.compileAside(ctx)
}

// useless says that the store has no place for the artifact, and what to do.
func (r *request) useless(reason error) error {
	remedy := "mend that, or name another folder by the runtime's option CacheDir"
	if errors.Is(reason, cache.ErrTooLarge) {
		remedy = fmt.Sprintf("raise the runtime's option CacheSize, which is %d bytes", r.CacheSize)
	}
	return fmt.Errorf("module %s: what is compiled of it cannot be kept in the folder %s: %w; %s", r.name, r.CacheDir, reason, remedy)
}

func (r *request) warn(err error) {
	if r.Warn != nil {
		r.Warn(fmt.Errorf("compiled-module cache: module %s: %w", r.name, err))
	}
}

// compileAside has the module compiled into memory that is this container's alone.
// There is nothing to seal: the process that has written to it has ended when the
// container gets it, and nobody but the container looks at it.
func (r *request) compileAside(ctx context.Context) (artifact, error) {
	fd, err := unix.MemfdCreate("artifact", unix.MFD_CLOEXEC)
	if err != nil {
		return artifact{}, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "artifact")
	defer file.Close()
	if _, err := r.compile(ctx, file, 0); err != nil {
		return artifact{}, err
	}
	readable, err := reopen(file)
	return artifact{readable, 0}, err
}

// reopen opens a file again, for reading alone.
func reopen(file *os.File) (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
}

var errNoRoom = errors.New("no room for an artifact")

// compile has a process compile the module and write the artifact to the file
// from the offset on.
func (r *request) compile(ctx context.Context, to *os.File, offset int64) (made wire.Compiled, err error) {
	module := r.file
	if module == nil {
		if module, err = r.Layer.Open(ctx); err != nil {
			return made, err
		}
		defer module.Close()
	}
	if r.CompileTimeout > 0 {
		var cancel context.CancelFunc
		remedy := "raise that, or the container's processor limit"
		if r.ahead {
			remedy = "raise that"
		}
		ctx, cancel = context.WithTimeoutCause(ctx, r.CompileTimeout,
			fmt.Errorf("compiling took more than %s, as the runtime's option CompileTimeout allows: %s", r.CompileTimeout, remedy))
		defer cancel()
	}
	made, err = askCompiler(ctx, r.Config, module, to, wire.Compile{Name: r.name, Offset: offset, MemoryLimit: r.MemoryLimit})
	switch {
	case err == nil && made.NoRoom:
		return made, fmt.Errorf("%w: %s", errNoRoom, made.Error)
	case err == nil && made.Error != "":
		return made, errors.New(made.Error)
	case err == nil && r.file == nil && made.Digest != r.Layer.Digest:
		return made, fmt.Errorf("module %s: its layer has the content %s, not %s", r.name, made.Digest, r.Layer.Digest)
	case err == nil && len(made.Sum) != 32:
		return made, errors.New("the compiling process said too little")
	case err == nil:
		r.compiled = &made
	case ctx.Err() != nil:
		return made, fmt.Errorf("module %s: %w", r.name, context.Cause(ctx))
	}
	return made, err
}

// askCompiler starts a process that compiles, in the container's cgroup, and
// returns its answer. Nothing of the process is left but a child for the reaper.
func askCompiler(ctx context.Context, cfg *Config, module, to *os.File, job wire.Compile) (answer wire.Compiled, err error) {
	control, remote, err := socketpair()
	if err != nil {
		return answer, fmt.Errorf("control socket: %w", err)
	}
	defer control.Close()
	pid, pidfd, err := startCompiler(cfg, remote, module, to)
	remote.Close()
	if err != nil {
		return answer, err
	}
	process := newHandle(pid, pidfd)
	defer func() {
		// It has nothing left to do, or shall not do it.
		_ = process.signal(unix.SIGKILL)
		process.wait()
		process.close()
	}()
	if cfg.Compiling != nil {
		if err := cfg.Compiling(pid); err != nil {
			if process.ended() {
				return answer, ErrCompilerEnded
			}
			return answer, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err = wire.Send(control, job); err == nil {
		err = wire.Receive(control, &answer)
	}
	return answer, socketError(err, ErrCompilerEnded)
}
