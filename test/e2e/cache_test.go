package e2e

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inCache is a plan whose compiled modules are in a folder of the test's own.
func inCache(guest, dir string, options ...string) plan {
	p := plan{guest: guest, options: map[string]any{"CacheDir": dir}}
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		p.options[key] = value
	}
	return p
}

// newCache returns a folder that is not there yet.
func newCache(t *testing.T) string { return filepath.Join(t.TempDir(), "cache") }

// says runs a container to its end and expects what it prints.
func (p plan) says(t *testing.T, want string) {
	t.Helper()
	b := p.start(t)
	b.waitCode(t, 0)
	b.task.IO().Wait()
	if got := b.stdout.String(); got != want {
		t.Errorf("%s printed %q, not %q", p.guest, got, want)
	}
	if err := b.remove(); err != nil {
		t.Error(err)
	}
}

// artifacts returns how many modules a cache has, and the bytes of all its files.
func artifacts(t *testing.T, dir string) (n int, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if filepath.Base(filepath.Dir(path)) == "artifacts" && !strings.Contains(d.Name(), ".") {
			n++
		}
		size += info.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, size
}

// compilers notes the processes that compile until the returned function is
// called, which says how many there were.
func compilers() (count func() int) {
	stop, counted := make(chan struct{}), make(chan int)
	go func() {
		seen := map[string]bool{}
		for {
			lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is good
			for _, line := range lines {
				if argv, err := os.ReadFile(line); err == nil && bytes.Equal(argv, []byte("wasm-compiler\x00")) {
					seen[line] = true
				}
			}
			select {
			case <-stop:
				counted <- len(seen)
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() int { close(stop); return <-counted }
}

func TestCompiledOnce(t *testing.T) {
	leavesNothing(t)
	dir := newCache(t)
	shims := 10
	if emulated {
		shims = 3
	}
	count := compilers()
	var all sync.WaitGroup
	boxes := make([]*box, shims)
	errs := make([]error, shims)
	for i := range shims {
		id := newID(t)
		all.Go(func() { boxes[i], errs[i] = inCache("hello-go", dir).createWith(t, id) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d shims that started the same module at once compiled it %d times", shims, n)
	}
	if n, _ := artifacts(t, dir); n != 1 {
		t.Errorf("the cache has %d modules", n)
	}
	want := greeting(t, "hello-go")
	count = compilers()
	inCache("hello-go", dir).says(t, want)
	if n := count(); n != 0 {
		t.Errorf("a further start compiled %d times", n)
	}
}

// greeting is what a guest prints that was compiled for it alone.
func greeting(t *testing.T, guest string) string {
	t.Helper()
	b := inCache(guest, newCache(t)).start(t)
	b.waitCode(t, 0)
	b.task.IO().Wait()
	text := b.stdout.String()
	if text == "" {
		t.Fatalf("%s prints nothing", guest)
	}
	if err := b.remove(); err != nil {
		t.Error(err)
	}
	return text
}

// Whatever becomes of the cache, containers run, and say what they say.
func TestCacheInTrouble(t *testing.T) {
	for name, trouble := range map[string]func(t *testing.T, dir string) error{
		"deleted": func(_ *testing.T, dir string) error { return os.RemoveAll(dir) },
		"full of garbage": func(_ *testing.T, dir string) error {
			return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				return errors.Join(os.Remove(path), os.WriteFile(path, bytes.Repeat([]byte("garbage"), 10000), 0o400))
			})
		},
		"cut off": func(_ *testing.T, dir string) error {
			return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				return os.Truncate(path, 5000)
			})
		},
		"read-only": func(t *testing.T, dir string) error {
			if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			return unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		},
		"on a full disk": func(t *testing.T, dir string) error {
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
				return err
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=700")
		},
		"not executable": func(t *testing.T, dir string) error {
			if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			})
			return unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_NOEXEC, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			dir := newCache(t)
			guest := cOrGo("hello-c", "hello-go")
			want := greeting(t, guest[0])
			inCache(guest[0], dir).says(t, want)
			if err := trouble(t, dir); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				inCache(guest[0], dir).says(t, want)
			}
		})
	}
}

func TestCacheStaysWithinItsSize(t *testing.T) {
	leavesNothing(t)
	dir := newCache(t)
	const limit = 300 << 10
	guests := []string{"hello-c", "args", "env", "count", "hello-as", "hello-c"}
	for _, guest := range guests {
		inCache(guest, dir, "CacheSize=300KiB").start(t).wait(t)
		if _, size := artifacts(t, dir); size > limit+64<<10 {
			t.Errorf("with %s the cache has %d bytes, more than %d", guest, size, limit)
		}
	}
	if n, _ := artifacts(t, dir); n == 0 || n >= len(guests)-1 {
		t.Errorf("the cache has %d modules of %d", n, len(guests)-1)
	}
}

func TestCompileTimeout(t *testing.T) {
	leavesNothing(t)
	_, err := inCache("hello-go", newCache(t), "CompileTimeout=1ms").tryCreate(t)
	const want = "module /hello-go.wasm: compiling took more than 1ms, as the runtime's option CompileTimeout allows"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A container has its module from its creation on, whatever becomes of the image.
func TestImageRemovedWhileItRuns(t *testing.T) {
	leavesNothing(t)
	ctx := namespaced(t.Context())
	original, err := client.ImageService().Get(ctx, imageName("sleep"))
	if err != nil {
		t.Fatal(err)
	}
	created := plan{guest: "sleep", args: []string{"600000"}}.create(t)
	running := plan{guest: "sleep", args: []string{"600000"}}.start(t)
	if err := client.ImageService().Delete(ctx, original.Name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := client.ImageService().Create(namespaced(context.Background()), original); err != nil {
			t.Error(err)
		}
	})
	if err := created.task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*box{created, running} {
		b.stdout.waitFor(t, "sleeping")
		b.kill(t, syscall.SIGTERM)
		b.waitCode(t, 143)
	}
}
