package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Files of root file systems have no digest that anybody could tell; reading
// one takes longer than a warm start. A file is known again by its inode and
// times. That is sound only where nobody but this kernel writes inodes: on the
// file system of the store itself, not in a volume that somebody brings, nor in
// a file system that an image is or that a program serves.

// identity is a file's, "" for one that could be mistaken for another.
type identity string

// settle is how long a file must have been left alone to be known again: two
// changes within one tick of the kernel's clock have the same time.
const settle = 2 * time.Second

// maxFiles bounds how many files are known.
const maxFiles = 4096

// identify returns the identity of a file. Where the root file system at rootfs
// is an overlay, layers are the absolute paths of the directories it is made of,
// the one that is written to first; without them its files have no identity.
func (s *Store) identify(file *os.File, rootfs string, layers []string) identity {
	var st, root unix.Stat_t
	if unix.Fstat(int(file.Fd()), &st) != nil || unix.Stat(rootfs, &root) != nil {
		return ""
	}
	changed := time.Unix(st.Ctim.Sec, st.Ctim.Nsec)
	if time.Since(changed) < settle {
		return ""
	}
	if st.Dev != s.dev {
		// A file of an overlay has the inode number of the file below, which is
		// the store's file system's where all layers are.
		if st.Dev != root.Dev || !s.isOn(layers) {
			return ""
		}
		// One that was copied up keeps the number of the original: it has been
		// changed since there is a layer to copy to.
		if made := birth(layers[0]); made.IsZero() || !changed.Before(made) {
			return ""
		}
	}
	return identity(fmt.Sprintf("%d %d %d %d.%09d %d.%09d", s.dev, st.Ino, st.Size,
		st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec))
}

// isOn says whether all directories, of which there are some, are on the
// store's file system.
func (s *Store) isOn(dirs []string) bool {
	return len(dirs) > 0 && !slices.ContainsFunc(dirs, func(dir string) bool {
		var st unix.Stat_t
		return unix.Stat(dir, &st) != nil || st.Dev != s.dev
	})
}

// birth is when a file was made; zero where the file system does not say.
func birth(path string) time.Time {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st) != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}

// File is a module's file as the store knows it.
type File struct {
	store *Store
	name  string // "" where it has no identity
}

// File looks at a file, which stays the caller's. rootfs and layers are as for
// the container: the path of its root file system and, where that is an overlay,
// the directories it is made of, the one that is written to first.
func (s *Store) File(file *os.File, rootfs string, layers []string) File {
	id := s.identify(file, rootfs, layers)
	if id == "" {
		return File{}
	}
	sum := sha256.Sum256([]byte(id))
	return File{s, hex.EncodeToString(sum[:])}
}

// Digest is that of the file's content, if it is known.
func (f File) Digest() (digest string, ok bool) {
	if f.name == "" {
		return "", false
	}
	content, err := os.ReadFile(f.store.path(filesDir, f.name))
	if err != nil || !isDigest(string(content)) {
		return "", false
	}
	return string(content), true
}

// Remember notes the digest of the content that the file had when it was looked
// at, and since: the caller has read it after that.
func (f File) Remember(digest string) error {
	if f.name == "" {
		return nil
	}
	dir := f.store.path(filesDir)
	if known, err := os.ReadDir(dir); err == nil && len(known) >= maxFiles {
		// All of them: which are of use is not known, and each takes one reading.
		for _, k := range known {
			_ = os.Remove(f.store.path(filesDir, k.Name()))
		}
	}
	file, err := os.CreateTemp(dir, newPrefix)
	if err != nil {
		return err
	}
	_, err = file.WriteString(digest)
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), f.store.path(filesDir, f.name))
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

func isDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && isKey(hex)
}

// bootID is the kernel's name for the time since the machine was started.
var bootID = sync.OnceValue(func() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
})
