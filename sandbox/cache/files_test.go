package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// oldFiles makes files that have not changed for a while: there is no setting a
// time of change, so it waits.
func oldFiles(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.WriteFile(path, []byte("module"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(settle + 10*time.Millisecond)
}

func fileAt(t *testing.T, s *Store, path, rootfs string, layers ...string) File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return s.File(file, rootfs, layers)
}

func TestFilesAreKnownAgain(t *testing.T) {
	t.Parallel()
	s := open(t, 1<<20)
	root := t.TempDir()
	path := filepath.Join(root, "app.wasm")
	oldFiles(t, path)
	if _, ok := fileAt(t, s, path, root).Digest(); ok {
		t.Fatal("a new file is known")
	}
	if err := fileAt(t, s, path, root).Remember(someDigest); err != nil {
		t.Fatal(err)
	}
	if digest, _ := fileAt(t, s, path, root).Digest(); digest != someDigest {
		t.Errorf("digest %q", digest)
	}
	// The same size and the same time of modification.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("MODULE"), 0o644), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if _, ok := fileAt(t, s, path, root).Digest(); ok {
		t.Error("a changed file is known")
	}
	// One that has just changed could change again within the clock's tick.
	if err := fileAt(t, s, path, root).Remember(someDigest); err != nil {
		t.Fatal(err)
	}
	if _, ok := fileAt(t, s, path, root).Digest(); ok {
		t.Error("a file that has just changed is known")
	}
}

// inMounts runs f with a mount namespace of its own.
func inMounts(t *testing.T, f func()) {
	t.Helper()
	if os.Getenv("CACHE_TEST_MOUNTS") == "" {
		runInMounts(t)
		return
	}
	f()
}

func TestFilesOfAnOverlay(t *testing.T) {
	t.Parallel()
	inMounts(t, func() {
		s := open(t, 1<<20)
		base := t.TempDir()
		dir := func(name string) string { return filepath.Join(base, name) }
		for _, name := range []string{"lower", "upper1", "work1", "root1", "upper2", "work2", "root2"} {
			if name == "upper1" {
				oldFiles(t, filepath.Join(dir("lower"), "app.wasm"), filepath.Join(dir("lower"), "changed.wasm"))
			}
			if err := os.Mkdir(dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []string{"1", "2"} {
			options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir("lower"), dir("upper"+n), dir("work"+n))
			if err := unix.Mount("overlay", dir("root"+n), "overlay", 0, options); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(dir("root"+n), 0) //nolint:errcheck // the namespace goes anyway
		}
		in := func(n, name string) File {
			return fileAt(t, s, filepath.Join(dir("root"+n), name), dir("root"+n), dir("upper"+n), dir("lower"))
		}
		if err := in("1", "app.wasm").Remember(someDigest); err != nil {
			t.Fatal(err)
		}
		if digest, _ := in("2", "app.wasm").Digest(); digest != someDigest {
			t.Errorf("in another container of the image: digest %q", digest)
		}
		if _, ok := in("2", "changed.wasm").Digest(); ok {
			t.Error("another file is taken for the first")
		}
		// A copy keeps the number of the original, and nothing tells one from another.
		for _, n := range []string{"1", "2"} {
			if err := os.WriteFile(filepath.Join(dir("root"+n), "changed.wasm"), []byte("in "+n), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(settle + 10*time.Millisecond)
		if f := in("1", "changed.wasm"); f.name != "" {
			t.Error("a file that was copied up is known again")
		}
		if f := fileAt(t, s, filepath.Join(dir("root1"), "app.wasm"), dir("root1")); f.name != "" {
			t.Error("a file of an overlay of whose layers nothing is said is known again")
		}
		// Inodes of a file system that somebody brings are not the kernel's word.
		if err := unix.Mount("tmpfs", dir("work1"), "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(dir("work1"), 0) //nolint:errcheck // the namespace goes anyway
		brought := filepath.Join(dir("work1"), "app.wasm")
		oldFiles(t, brought)
		if f := fileAt(t, s, brought, dir("root1"), dir("upper1"), dir("lower")); f.name != "" {
			t.Error("a file of another file system is known again")
		}
	})
}

func TestManyFilesAreForgotten(t *testing.T) {
	t.Parallel()
	s := open(t, 1<<20)
	for i := range maxFiles {
		if err := os.WriteFile(s.path(filesDir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	path := filepath.Join(root, "app.wasm")
	oldFiles(t, path)
	if err := fileAt(t, s, path, root).Remember(someDigest); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(s.path(filesDir))
	if err != nil || len(files) != 1 {
		t.Errorf("%d files (%v)", len(files), err)
	}
	// A note with anything else in it is none.
	if err := os.WriteFile(s.path(filesDir, files[0].Name()), slices.Repeat([]byte("x"), 71), 0o600); err != nil {
		t.Fatal(err)
	}
	if digest, ok := fileAt(t, s, path, root).Digest(); ok {
		t.Errorf("digest %q", digest)
	}
}
