// Package cache keeps the artifacts of compiled modules in a folder that all
// shims of a machine share.
//
// An artifact is stored once for each module, by the digest of its content, and
// for each kind of engine. Nothing is taken from the folder on trust: an entry
// counts only where it is a file of this user's that nobody else can write,
// with the key that is asked for and the content that its digest says. Whatever
// else is there is removed, or left alone where it has another name.
//
// The folder may be deleted, filled up or made read-only at any time: callers
// then do without it. Functions may be called at the same time from any
// number of processes.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Store is one such folder.
type Store struct {
	dir   string
	limit int64
	dev   uint64 // the file system with the folder

	evicting sync.Mutex
}

// Folders in that of the store.
const (
	entriesDir = "artifacts"
	filesDir   = "files"
)

// Open opens the folder, which it makes if need be. Entries are evicted while
// they have more than limit bytes together, the least recently used first.
func Open(dir string, limit int64) (*Store, error) {
	s := &Store{dir: dir, limit: limit}
	for _, dir := range []string{dir, s.path(entriesDir), s.path(filesDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		// Where others could put entries, or could have put them, there is no
		// telling whose they are.
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != uint32(os.Geteuid()) || st.Mode&0o022 != 0 {
			return nil, fmt.Errorf("%s: must be a folder of user %d that nobody else can write to", dir, os.Geteuid())
		}
		s.dev = st.Dev
	}
	return s, nil
}

func (s *Store) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// Key names an entry.
type Key [sha256.Size]byte

// KeyFor is the key of what an engine with such settings makes of the module
// with that digest.
func KeyFor(settings, digest string) Key {
	return sha256.Sum256([]byte(settings + "\n" + digest))
}

func (k Key) String() string { return hex.EncodeToString(k[:]) }
