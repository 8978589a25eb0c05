package cache

import (
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// entryInfo is what eviction looks at.
type entryInfo struct {
	name string
	size int64
	used time.Time
}

// evict removes entries until the rest is within the limit, and what processes
// that were killed have left. A container that runs keeps what it has mapped.
func (s *Store) evict() {
	s.evicting.Lock()
	defer s.evicting.Unlock()
	files, err := os.ReadDir(s.path(entriesDir))
	if err != nil {
		return
	}
	var entries []entryInfo
	var total int64
	for _, f := range files {
		name := f.Name()
		entry, isUse := strings.CutSuffix(name, useSuffix)
		switch {
		case strings.HasPrefix(name, newPrefix):
			removeOrphan(s.path(entriesDir, name))
		case isUse && isKey(entry):
			if _, err := os.Lstat(s.path(entriesDir, entry)); os.IsNotExist(err) {
				_ = os.Remove(s.path(entriesDir, name))
			}
		case isKey(name):
			info, err := f.Info()
			if err != nil {
				continue
			}
			e := entryInfo{name, info.Size(), info.ModTime()}
			if use, err := os.Stat(s.path(entriesDir, name+useSuffix)); err == nil {
				e.used = use.ModTime()
			}
			entries = append(entries, e)
			total += e.size
		}
	}
	slices.SortFunc(entries, func(a, b entryInfo) int { return a.used.Compare(b.used) })
	for _, e := range entries {
		if total <= s.limit {
			return
		}
		if os.RemoveAll(s.path(entriesDir, e.name)) == nil {
			_ = os.Remove(s.path(entriesDir, e.name+useSuffix))
			total -= e.size
		}
	}
}

// removeOrphan removes a file that nobody is writing any more.
func removeOrphan(path string) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(path)
	}
}
