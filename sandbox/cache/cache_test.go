package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, limit int64) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "cache"), limit)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put stores content under the key of name.
func put(t *testing.T, s *Store, name, content string) Key {
	t.Helper()
	key := KeyFor("engine", name)
	file, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte(content), Offset); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(file, key, int64(len(content)), sha256.Sum256([]byte(content))); err != nil {
		t.Fatal(err)
	}
	return key
}

// get returns the content of an entry; "" for none.
func get(t *testing.T, s *Store, key Key) string {
	t.Helper()
	file := s.Get(key)
	if file == nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, info.Size()-Offset)
	if _, err := file.ReadAt(content, Offset); err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestEntriesAreThereForAll(t *testing.T) {
	s := open(t, 1<<20)
	key := put(t, s, "a", "content of a")
	other, err := Open(s.dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, other, key); got != "content of a" {
		t.Errorf("got %q", got)
	}
	if got := get(t, other, KeyFor("another engine", "a")); got != "" {
		t.Errorf("another engine gets %q", got)
	}
	file := other.Get(key)
	defer file.Close()
	if _, err := file.Write([]byte{0}); !errors.Is(err, os.ErrPermission) && !errors.Is(err, unix.EBADF) {
		t.Errorf("an entry is open for writing: %v", err)
	}
}

// What is not as the store left it does not count, and is replaced.
func TestUntrustedEntries(t *testing.T) {
	edit := func(change func(content []byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, change(content), 0o600), os.Chmod(path, 0o400)); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(t *testing.T, path string, make func(path string) error) {
		if err := errors.Join(os.Remove(path), make(path)); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(t *testing.T, path string){
		"one bit of the content": edit(func(c []byte) []byte { c[len(c)-1] ^= 1; return c }),
		"cut off":                edit(func(c []byte) []byte { return c[:len(c)-1] }),
		"cut off in its header":  edit(func(c []byte) []byte { return c[:10] }),
		"empty":                  edit(func([]byte) []byte { return nil }),
		"longer":                 edit(func(c []byte) []byte { return append(c, 0) }),
		"another key": edit(func(c []byte) []byte {
			key := KeyFor("engine", "another")
			copy(c[8:], key[:])
			return c
		}),
		"another digest": edit(func(c []byte) []byte { c[60] ^= 1; return c }),
		"garbage":        edit(func([]byte) []byte { return bytes.Repeat([]byte("garbage"), 2000) }),
		"writable":       func(t *testing.T, path string) { replaceMode(t, path, 0o600) },
		"for all":        func(t *testing.T, path string) { replaceMode(t, path, 0o444) },
		"another's": func(t *testing.T, path string) {
			if err := os.Chown(path, 4711, 4711); err != nil {
				t.Fatal(err)
			}
		},
		"a second name": func(t *testing.T, path string) {
			if err := os.Link(path, path+"x"); err != nil {
				t.Fatal(err)
			}
		},
		"a link": func(t *testing.T, path string) {
			replace(t, path, func(path string) error { return os.Symlink("/dev/zero", path) })
		},
		"a folder": func(t *testing.T, path string) {
			replace(t, path, func(path string) error { return os.MkdirAll(path+"/x/y", 0o700) })
		},
		"a FIFO": func(t *testing.T, path string) {
			replace(t, path, func(path string) error { return unix.Mkfifo(path, 0o400) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 1<<20)
			key := put(t, s, "a", "content of a")
			if get(t, s, key) == "" {
				t.Fatal("the entry is not there to begin with")
			}
			spoil(t, s.path(entriesDir, key.String()))
			if got := get(t, s, key); got != "" {
				t.Fatalf("trusted: %q", got)
			}
			put(t, s, "a", "content of a")
			if got := get(t, s, key); got != "content of a" {
				t.Errorf("after it was stored anew: %q", got)
			}
		})
	}
}

func replaceMode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// Damage that came while the machine was off is found at the first use, although
// the notes of the last check are still there.
func TestEntriesAreCheckedAfterABoot(t *testing.T) {
	s := open(t, 1<<20)
	key := put(t, s, "a", "content of a")
	path := s.path(entriesDir, key.String())
	replaceMode(t, path, 0o600)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("C"), Offset); err != nil {
		t.Fatal(err)
	}
	file.Close()
	replaceMode(t, path, 0o400)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	note := bytes.Replace(whole(&st), []byte(bootID()), []byte("an earlier boot"), 1)
	if err := os.WriteFile(path+useSuffix, note, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, key); got != "" {
		t.Errorf("trusted: %q", got)
	}
}

func TestTheLeastRecentlyUsedGoFirst(t *testing.T) {
	const size = 10 << 10
	s := open(t, 3*(size+Offset))
	content := strings.Repeat("x", size)
	var keys []Key
	used := time.Now().Add(-time.Hour)
	for i := range 3 {
		keys = append(keys, put(t, s, fmt.Sprint(i), content))
		used = used.Add(time.Minute)
		if err := os.Chtimes(s.path(entriesDir, keys[i].String()+useSuffix), used, used); err != nil {
			t.Fatal(err)
		}
	}
	held := s.Get(keys[0]) // is the most recently used now
	defer held.Close()
	keys = append(keys, put(t, s, "3", content))
	for i, there := range []bool{true, false, true, true} {
		if got := get(t, s, keys[i]) != ""; got != there {
			t.Errorf("entry %d: there %v, want %v", i, got, there)
		}
	}
	files, err := os.ReadDir(s.path(entriesDir))
	if err != nil || len(files) != 6 {
		t.Errorf("%d files, want three entries and what stands beside each (%v)", len(files), err)
	}
	s.limit = Offset
	file, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := s.Put(file, keys[0], size, [32]byte{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an entry larger than the cache: %v", err)
	}
}

func TestWhatKilledProcessesLeave(t *testing.T) {
	s := open(t, 1<<20)
	dead, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	dead.Close() // as the kernel does it
	alive, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	put(t, s, "a", "content")
	if _, err := os.Stat(dead.Name()); !os.IsNotExist(err) {
		t.Errorf("what nobody writes any more is still there: %v", err)
	}
	if _, err := os.Stat(alive.Name()); err != nil {
		t.Errorf("what is being written is gone: %v", err)
	}
}

func TestLock(t *testing.T) {
	s := open(t, 1<<20)
	key := KeyFor("engine", "a")
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			unlock, err := s.Lock(t.Context(), key)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
		})
	}
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("%d had the lock at the same time", most.Load())
	}

	unlock, err := s.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	other, err := s.Lock(t.Context(), KeyFor("engine", "b"))
	if err != nil {
		t.Fatal(err)
	}
	other()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("no patience")
	cancel(cause)
	if _, err := s.Lock(ctx, key); !errors.Is(err, cause) {
		t.Errorf("waiting in vain: %v", err)
	}
}

func TestFoldersThatCannotBeTrusted(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"writable for others":  func(dir string) error { return os.Chmod(dir, 0o777) },
		"another's":            func(dir string) error { return os.Chown(dir, 4711, 4711) },
		"inner one for others": func(dir string) error { return os.Chmod(filepath.Join(dir, entriesDir), 0o777) },
		"a link to a folder":   func(dir string) error { return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir)) },
		"a file":               func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) },
		"a file for the inside": func(dir string) error {
			return errors.Join(os.RemoveAll(dir+"/files"), os.WriteFile(dir+"/files", nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 1<<20)
			if err := spoil(s.dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(s.dir, 1<<20); err == nil || !strings.Contains(err.Error(), s.dir) {
				t.Errorf("got %v, want an error that names the folder", err)
			}
		})
	}
}
