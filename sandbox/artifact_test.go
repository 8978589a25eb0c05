package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cached gives the configuration a cache, and counts the processes that compile.
func cached(t *testing.T, cfg *Config, dir string) (compiled *atomic.Int32, warnings *[]string) {
	t.Helper()
	compiled, warnings = new(atomic.Int32), new([]string)
	cfg.CacheDir, cfg.CacheSize = dir, 1<<20
	cfg.Compiling = func(int) error { compiled.Add(1); return nil }
	cfg.Warn = func(err error) { *warnings = append(*warnings, err.Error()) }
	return compiled, warnings
}

// runsTo7 runs the module and expects its exit code.
func runsTo7(t *testing.T, cfg Config) {
	t.Helper()
	p := create(t, cfg)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if status := wait(t, p); status != 7 {
		t.Errorf("exit status %d, want the guest's 7", status)
	}
}

func TestAModuleIsCompiledOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for i, want := range []int32{1, 0} {
		cfg := newConfig(t, exits) // in another root file system each time
		compiled, warnings := cached(t, &cfg, dir)
		runsTo7(t, cfg)
		if n := compiled.Load(); n != want || len(*warnings) > 0 {
			t.Errorf("container %d: compiled %d times, want %d; warnings %q", i, n, want, *warnings)
		}
	}
	cfg := newConfig(t, spins)
	compiled, _ := cached(t, &cfg, dir)
	create(t, cfg)
	if compiled.Load() != 1 {
		t.Error("another module was not compiled")
	}
}

func TestManyAtOnceCompileOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var total atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		cfg := newConfig(t, exits)
		cached(t, &cfg, dir)
		cfg.Compiling = func(int) error {
			total.Add(1)
			time.Sleep(50 * time.Millisecond) // the others get here meanwhile
			return nil
		}
		all.Go(func() {
			p, err := Create(context.Background(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			_ = p.Signal(unix.SIGKILL)
			p.Close()
		})
	}
	all.Wait()
	if n := total.Load(); n != 1 {
		t.Errorf("compiled %d times", n)
	}
}

// Whatever becomes of the folder, containers run.
func TestUnusableCaches(t *testing.T) {
	for name, c := range map[string]struct {
		spoil    func(dir string) error
		compiled int32 // when it was compiled before
		warning  string
	}{
		"deleted":             {os.RemoveAll, 1, ""},
		"a file":              {func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) }, 1, "not a directory"},
		"writable for others": {func(dir string) error { return os.Chmod(dir, 0o777) }, 1, "nobody else can write"},
		"full of garbage": {func(dir string) error {
			return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("garbage"), 0o600))
			})
		}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			cfg := newConfig(t, exits)
			cached(t, &cfg, dir)
			runsTo7(t, cfg)
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			compiled, warnings := cached(t, &cfg, dir)
			runsTo7(t, cfg)
			if n := compiled.Load(); n != c.compiled {
				t.Errorf("compiled %d times, want %d", n, c.compiled)
			}
			if text := strings.Join(*warnings, "\n"); (c.warning == "") != (text == "") || !strings.Contains(text, c.warning) {
				t.Errorf("warnings %q, want one of %q", text, c.warning)
			}
		})
	}
}

func TestAnArtifactLargerThanTheCache(t *testing.T) {
	cfg := newConfig(t, exits)
	dir := filepath.Join(t.TempDir(), "cache")
	_, warnings := cached(t, &cfg, dir)
	cfg.CacheSize = 4096
	runsTo7(t, cfg)
	if len(*warnings) != 1 || !strings.Contains((*warnings)[0], "larger than the cache may be") {
		t.Errorf("warnings %q", *warnings)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "artifacts", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %q (%v)", left, err)
	}
}

func TestCompilingTakesTooLong(t *testing.T) {
	cfg := newConfig(t, exits)
	cfg.CompileTimeout = time.Nanosecond
	_, err := Create(t.Context(), cfg)
	const want = "module /app.wasm: compiling took more than 1ns, as the runtime's option CompileTimeout allows"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTheCompilingProcessIsKilled(t *testing.T) {
	cfg := newConfig(t, exits)
	cfg.Compiling = func(pid int) error { return unix.Kill(pid, unix.SIGKILL) }
	if _, err := Create(t.Context(), cfg); !errors.Is(err, ErrCompilerEnded) {
		t.Errorf("got %v, want ErrCompilerEnded", err)
	}
}

const digestOfExits = "sha256:2194f0d23626e6104d4a7a891350fbd0e82a54a29dd596a672d41474e9b6ee0a"

// A module that is not in the root file system comes from its layer, which is
// not opened again once there is an artifact.
func TestLayers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	opened := 0
	for range 2 {
		cfg := newConfig(t, "")
		compiled, warnings := cached(t, &cfg, dir)
		path := filepath.Join(t.TempDir(), "layer")
		if err := os.WriteFile(path, []byte(exits), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Module.Paths, cfg.Module.Name = nil, "of an image"
		cfg.Layer = &Layer{Digest: digestOfExits, Open: func(context.Context) (*os.File, error) {
			opened++
			return os.Open(path)
		}}
		runsTo7(t, cfg)
		if len(*warnings) > 0 || compiled.Load() != int32(opened) && opened != 1 {
			t.Errorf("warnings %q", *warnings)
		}
	}
	if opened != 1 {
		t.Errorf("the layer was opened %d times", opened)
	}

	cfg := newConfig(t, "")
	cached(t, &cfg, dir)
	cfg.Module.Paths, cfg.Module.Name = nil, "of an image"
	cfg.Layer = &Layer{Digest: "sha256:other", Open: func(context.Context) (*os.File, error) { return nil, errors.New("the layer is not there") }}
	if _, err := Create(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "the layer is not there") {
		t.Errorf("got %v", err)
	}
}

// What a layer's file has in it decides under which digest it is stored.
func TestALayerWithOtherContent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	layer := func(content string) Config {
		cfg := newConfig(t, "")
		cached(t, &cfg, dir)
		path := filepath.Join(t.TempDir(), "layer")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Module.Paths, cfg.Module.Name = nil, "of an image"
		cfg.Layer = &Layer{Digest: digestOfExits, Open: func(context.Context) (*os.File, error) { return os.Open(path) }}
		return cfg
	}
	if _, err := Create(t.Context(), layer(spins)); err == nil || !strings.Contains(err.Error(), digestOfExits) {
		t.Errorf("a layer of another content: %v", err)
	}
	runsTo7(t, layer(exits))
}

// The process that compiles a hostile module has nothing to reach for.
func TestTheJailOfTheCompiler(t *testing.T) {
	module, err := os.ReadFile("../.engines/guests/hello-go.wasm")
	if err != nil {
		t.Fatalf("%v: run `make guests`", err)
	}
	cfg := newConfig(t, string(module))
	seen := make(chan string, 1)
	cfg.Compiling = func(pid int) error {
		go func() { seen <- jailOf(pid) }()
		return nil
	}
	create(t, cfg)
	const want = "CapPrm 0000000000000000, CapEff 0000000000000000, CapBnd 0000000000000000, NoNewPrivs 1, Seccomp 2, " +
		"files in its root 0, descriptors 0 1 2 3 4 5"
	if got := <-seen; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// jailOf waits until a process has a system-call filter, and says what it is in.
func jailOf(pid int) string {
	proc := fmt.Sprintf("/proc/%d/", pid)
	for {
		status, err := os.ReadFile(proc + "status")
		if err != nil {
			return err.Error()
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.TrimSpace(value)
		}
		if fields["Seccomp"] != "2" {
			time.Sleep(time.Millisecond)
			continue
		}
		var said []string
		for _, name := range []string{"CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"} {
			said = append(said, name+" "+fields[name])
		}
		files, err := os.ReadDir(proc + "root/")
		if err != nil {
			return err.Error()
		}
		said = append(said, fmt.Sprintf("files in its root %d", len(files)))
		descriptors, err := os.ReadDir(proc + "fd")
		if err != nil {
			return err.Error()
		}
		open := "descriptors"
		for _, d := range descriptors {
			link, err := os.Readlink(proc + "fd/" + d.Name())
			if err != nil {
				return err.Error()
			}
			// Go's poller is the process's own.
			if link != "anon_inode:[eventpoll]" && link != "anon_inode:[eventfd]" {
				open += " " + d.Name()
			}
		}
		return strings.Join(append(said, open), ", ")
	}
}
