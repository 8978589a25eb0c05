package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Offset is where in an entry's file the artifact begins: the first page is the
// store's.
var Offset = int64(os.Getpagesize())

// header is what the first page has.
type header struct {
	Magic [8]byte
	Key   Key
	Size  int64             // of the artifact
	Sum   [sha256.Size]byte // of the artifact
}

var magic = [8]byte{'w', 'a', 's', 'm', 'c', 'c', 'h', '1'}

// newPrefix begins the names of files that are being written.
const newPrefix = ".new-"

// useSuffix ends the name of the file beside an entry whose time of
// modification is when the entry was last used, and whose content says which
// file was found to be whole.
const useSuffix = ".use"

// Get opens an entry, for reading; nil where there is none that can be trusted.
// The caller closes it.
func (s *Store) Get(key Key) *os.File {
	path := s.path(entriesDir, key.String())
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if err = s.check(file, key); err == nil {
			return file
		}
		file.Close()
	}
	_ = os.RemoveAll(path)
	return nil
}

// check says why an entry cannot be trusted, and notes that it was used.
func (s *Store) check(file *os.File, key Key) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return err
	}
	if st.Mode != unix.S_IFREG|0o400 || st.Uid != uint32(os.Geteuid()) || st.Nlink != 1 {
		return errors.New("not a file of the store's")
	}
	var h header
	if err := binary.Read(io.NewSectionReader(file, 0, Offset), binary.LittleEndian, &h); err != nil {
		return err
	}
	if h.Magic != magic || h.Key != key || h.Size != st.Size-Offset {
		return errors.New("another entry, or a part of one")
	}
	// Reading all of it is for the first use after a boot, and after any change:
	// no process can set a file's time of change.
	use, state := s.path(entriesDir, key.String()+useSuffix), whole(&st)
	if known, err := os.ReadFile(use); err == nil && bytes.Equal(known, state) {
		_ = unix.Utimes(use, nil)
		return nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(file, Offset, h.Size)); err != nil {
		return err
	}
	if [sha256.Size]byte(hash.Sum(nil)) != h.Sum {
		return errors.New("damaged")
	}
	_ = os.WriteFile(use, state, 0o600)
	return nil
}

// whole is what the file beside an entry says of one that was read and found
// to be whole.
func whole(st *unix.Stat_t) []byte {
	return fmt.Appendf(nil, "%s %d %d %d.%09d", bootID(), st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec)
}

// New returns a file for an artifact, to be written from Offset on, and to be
// given to Put. The caller closes it, and removes it where Put does not get it.
func (s *Store) New() (*os.File, error) {
	file, err := os.CreateTemp(s.path(entriesDir), newPrefix)
	if err != nil {
		return nil, err
	}
	// Held as long as anybody has the file open: who gets it finds an orphan.
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		os.Remove(file.Name())
		file.Close()
		return nil, err
	}
	return file, nil
}

// ErrTooLarge says that an artifact is larger than all entries together may be.
var ErrTooLarge = errors.New("larger than the cache may be")

// Put makes the file an entry. On an error the file is no entry, and whole.
func (s *Store) Put(file *os.File, key Key, size int64, sum [sha256.Size]byte) error {
	if size+Offset > s.limit {
		return ErrTooLarge
	}
	var head bytes.Buffer
	_ = binary.Write(&head, binary.LittleEndian, header{magic, key, size, sum})
	if _, err := file.WriteAt(head.Bytes(), 0); err != nil {
		return err
	}
	if err := file.Chmod(0o400); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), s.path(entriesDir, key.String())); err != nil {
		return err
	}
	// After the rename, which is a change of the file.
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err == nil {
		_ = os.WriteFile(s.path(entriesDir, key.String()+useSuffix), whole(&st), 0o600)
	}
	if dir, err := os.Open(s.path(entriesDir)); err == nil {
		_ = dir.Sync()
		dir.Close()
	}
	s.evict()
	return nil
}

// isKey says whether a file's name is that of an entry.
func isKey(name string) bool {
	return len(name) == 2*sha256.Size && strings.Trim(name, "0123456789abcdef") == ""
}
