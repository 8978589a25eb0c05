package wasi

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestPrestat(t *testing.T) {
	each(t, func(g *guest) {
		g.want(success, "fd_prestat_get", root, result)
		if g.u32(result) != 0 || g.u32(result+4) != 1 {
			g.Errorf("prestat % x", g.bytes(result, 8))
		}
		g.want(success, "fd_prestat_dir_name", root, buffer, 1)
		if got := string(g.bytes(buffer, 1)); got != "/" {
			g.Errorf("name %q", got)
		}
		g.want(errnoNametoolong, "fd_prestat_dir_name", root, buffer, 0)
		g.want(errnoFault, "fd_prestat_dir_name", root, outside, 100)
		g.want(errnoBadf, "fd_prestat_get", 0, result)
		g.want(errnoBadf, "fd_prestat_get", 4, result)
		g.want(errnoBadf, "fd_prestat_dir_name", 4, buffer, 100)
		dir := g.open(".", opening{oflags: openDirectory})
		g.want(errnoBadf, "fd_prestat_get", dir, result)
	})
}

// dirent is an entry as fd_readdir gives it.
type dirent struct {
	name string
	next uint64
	ino  uint64
	kind byte
}

// readdir reads a directory with a buffer of that size from the cookie on, once.
func (g *guest) readdir(fd uint64, size uint32, cookie uint64) (entries []dirent, full bool) {
	g.Helper()
	g.want(success, "fd_readdir", fd, buffer, uint64(size), cookie, result)
	used := g.u32(result)
	b := g.bytes(buffer, used)
	for len(b) >= direntSize {
		n := int(little.Uint32(b[16:]))
		if len(b) < direntSize+n {
			break
		}
		entries = append(entries, dirent{string(b[direntSize : direntSize+n]), little.Uint64(b), little.Uint64(b[8:]), b[20]})
		b = b[direntSize+n:]
	}
	return entries, used == size
}

// readAll reads a directory as guests do.
func (g *guest) readAll(fd uint64, size uint32) (all []dirent) {
	g.Helper()
	var cookie uint64
	for range 10_000 {
		entries, more := g.readdir(fd, size, cookie)
		all = append(all, entries...)
		if !more {
			return all
		}
		if len(entries) == 0 {
			g.Fatal("no entry fits into the buffer")
		}
		cookie = entries[len(entries)-1].next
	}
	g.Fatal("the directory has no end")
	return nil
}

func TestReaddir(t *testing.T) {
	each(t, func(g *guest) {
		want := map[string]byte{".": 3, "..": 3, "dir": 3, "link": 7}
		g.dir("dir")
		g.link("dir", "link")
		for i := range 300 {
			name := fmt.Sprintf("file-%d", i)
			g.file(name, "")
			want[name] = 4
		}
		info, err := os.Stat(filepath.Join(g.root, "dir"))
		if err != nil {
			g.Fatal(err)
		}
		opened := g.open(".", opening{oflags: openDirectory})
		for _, fd := range []uint64{root, opened} {
			for _, size := range []uint32{64, 300, 4096, 30_000} {
				got := map[string]byte{}
				for _, e := range g.readAll(fd, size) {
					if _, twice := got[e.name]; twice {
						g.Errorf("%s is there twice", e.name)
					}
					got[e.name] = e.kind
					if e.name == "dir" && !os.SameFile(info, g.byInode(e)) {
						g.Errorf("the inode of dir is %d", e.ino)
					}
				}
				if !maps.Equal(got, want) {
					g.Errorf("with %d bytes: %d entries, want %d", size, len(got), len(want))
				}
			}
		}
	})
}

func (g *guest) byInode(e dirent) os.FileInfo {
	info, err := os.Stat(filepath.Join(g.root, e.name))
	if err != nil {
		g.Fatal(err)
	}
	return info
}

// A cookie stays good while the directory is read elsewhere and while entries go.
func TestCookiesAreStable(t *testing.T) {
	each(t, func(g *guest) {
		for i := range 50 {
			g.file(fmt.Sprint("file-", i), "")
		}
		all := g.readAll(root, 4096)
		half := all[:25]
		for _, e := range half {
			if e.name != "." && e.name != ".." {
				if err := os.Remove(filepath.Join(g.root, e.name)); err != nil {
					g.Fatal(err)
				}
			}
		}
		g.readdir(root, 100, 0)
		rest, _ := g.readdir(root, 30_000, half[24].next)
		if !slices.Equal(rest, all[25:]) {
			g.Errorf("after the cookie are %d entries, want %d", len(rest), len(all[25:]))
		}
		// What is new is found from the beginning.
		g.file("new", "")
		if !slices.ContainsFunc(g.readAll(root, 4096), func(e dirent) bool { return e.name == "new" }) {
			g.Error("the new file is not found")
		}
	})
}

func TestReaddirErrors(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "")
		g.want(errnoNotdir, "fd_readdir", g.open("f", opening{}), buffer, 100, 0, result)
		g.want(errnoFault, "fd_readdir", root, outside, 100, 0, result)
		g.want(errnoFault, "fd_readdir", root, buffer, 100, 0, outside)
		g.want(errnoBadf, "fd_readdir", 99, buffer, 100, 0, result)
		g.want(success, "fd_readdir", root, buffer, 0, 0, result)
		// As much of an entry as there is room for.
		g.want(success, "fd_readdir", root, buffer, 10, 0, result)
		if n := g.u32(result); n != 10 {
			g.Errorf("%d bytes", n)
		}
	})
}
