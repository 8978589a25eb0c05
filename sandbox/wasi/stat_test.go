package wasi

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFdstat(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "")
		base := rightRead | rightSeek | rightSetFlags
		fd := g.open("f", opening{base: base, fdflags: flagNonblock | flagAppend | flagDsync})
		g.want(success, "fd_fdstat_get", fd, result)
		if kind, flags := g.bytes(result, 1)[0], g.u16(result+2); kind != 4 || flags != flagNonblock|flagAppend|flagDsync {
			g.Errorf("type %d, flags %b", kind, flags)
		}
		if got := rights(g.u64(result + 8)); got != base || g.u64(result+16) != 0 {
			g.Errorf("rights %b and %b", got, g.u64(result+16))
		}
		g.want(success, "fd_fdstat_set_flags", fd, flagDsync)
		g.want(success, "fd_fdstat_get", fd, result)
		if flags := g.u16(result + 2); flags != flagDsync {
			g.Errorf("flags %b", flags)
		}
		g.want(errnoNotsup, "fd_fdstat_set_flags", fd, flagSync)
		g.want(errnoInval, "fd_fdstat_set_flags", fd, 1<<5)
		sync := g.open("f", opening{fdflags: flagRsync})
		g.want(success, "fd_fdstat_get", sync, result)
		if flags := g.u16(result + 2); flags != flagSync {
			g.Errorf("rsync is %b", flags)
		}
		g.want(success, "fd_fdstat_get", root, result)
		if kind := g.bytes(result, 1)[0]; kind != 3 || rights(g.u64(result+16)) != allRights {
			g.Errorf("the root is of type %d and gives %b", kind, g.u64(result+16))
		}
		g.want(errnoFault, "fd_fdstat_get", fd, outside)
		g.want(errnoBadf, "fd_fdstat_get", 99, result)
	})
}

// What is appended goes to the end, wherever the offset is.
func TestAppend(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "123")
		fd := g.open("f", opening{fdflags: flagAppend})
		if e := g.write(fd, "4"); e != success {
			g.Fatalf("errno %d", e)
		}
		g.want(success, "fd_seek", fd, 0, 0, result)
		g.write(fd, "5")
		if got := g.content("f"); got != "12345" {
			g.Errorf("the file has %q", got)
		}
	})
}

func TestRights(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "x")
		at, n := g.vector(buffer, 1)
		for _, c := range []struct {
			without rights
			name    string
			args    []uint64
		}{
			{rightRead, "fd_read", []uint64{at, n, result}},
			{rightWrite, "fd_write", []uint64{at, n, result}},
			{rightRead, "fd_pread", []uint64{at, n, 0, result}},
			{rightSeek, "fd_pread", []uint64{at, n, 0, result}},
			{rightSeek, "fd_pwrite", []uint64{at, n, 0, result}},
			{rightSeek, "fd_seek", []uint64{1, 0, result}},
			{rightSeek | rightTell, "fd_tell", []uint64{result}},
			{rightSync, "fd_sync", nil},
			{rightDatasync, "fd_datasync", nil},
			{rightAdvise, "fd_advise", []uint64{0, 0, 0}},
			{rightAllocate, "fd_allocate", []uint64{0, 1}},
			{rightFilestat, "fd_filestat_get", []uint64{buffer}},
			{rightSetSize, "fd_filestat_set_size", []uint64{0}},
			{rightSetTimes, "fd_filestat_set_times", []uint64{0, 0, 0}},
			{rightSetFlags, "fd_fdstat_set_flags", []uint64{0}},
		} {
			fd := g.open("f", opening{base: allRights &^ c.without})
			g.want(errnoNotcapable, c.name, append([]uint64{fd}, c.args...)...)
			g.want(success, "fd_close", fd)
		}
		path, size := g.text("f")
		other, otherSize := g.text("g")
		for _, c := range []struct {
			without rights
			name    string
			args    []uint64
		}{
			{rightOpen, "path_open", []uint64{0, path, size, 0, 0, 0, 0, result}},
			{rightCreateFile, "path_open", []uint64{0, path, size, openCreate, 0, 0, 0, result}},
			{rightPathSetSize, "path_open", []uint64{0, path, size, openTruncate, 0, 0, 0, result}},
			{rightReaddir, "fd_readdir", []uint64{buffer, 100, 0, result}},
			{rightCreateDirectory, "path_create_directory", []uint64{path, size}},
			{rightRemoveDirectory, "path_remove_directory", []uint64{path, size}},
			{rightUnlink, "path_unlink_file", []uint64{path, size}},
			{rightReadlink, "path_readlink", []uint64{path, size, buffer, 10, result}},
			{rightPathFilestat, "path_filestat_get", []uint64{0, path, size, buffer}},
			{rightPathSetTimes, "path_filestat_set_times", []uint64{0, path, size, 0, 0, 0}},
			{rightLinkSource, "path_link", []uint64{0, path, size, root, other, otherSize}},
			{rightRenameSource, "path_rename", []uint64{path, size, root, other, otherSize}},
		} {
			dir := g.open(".", opening{oflags: openDirectory})
			g.want(success, "fd_fdstat_set_rights", dir, uint64(dirRights&^c.without), uint64(allRights))
			g.want(errnoNotcapable, c.name, append([]uint64{dir}, c.args...)...)
			g.want(success, "fd_close", dir)
		}
		dir := g.open(".", opening{oflags: openDirectory})
		g.want(success, "fd_fdstat_set_rights", dir, uint64(pathRights&^(rightLinkTarget|rightRenameTarget|rightSymlink)), uint64(rightRead))
		g.want(errnoNotcapable, "path_link", root, 0, path, size, dir, other, otherSize)
		g.want(errnoNotcapable, "path_rename", root, path, size, dir, other, otherSize)
		g.want(errnoNotcapable, "path_symlink", path, size, dir, other, otherSize)
		// No right comes back, neither to the directory nor to what it opens.
		g.want(errnoNotcapable, "fd_fdstat_set_rights", dir, uint64(pathRights), uint64(rightRead))
		g.want(errnoNotcapable, "fd_fdstat_set_rights", dir, 0, uint64(rightRead|rightWrite))
		if e := g.tryOpen("f", opening{dir: dir, base: rightRead | rightWrite}); e != errnoNotcapable {
			g.Errorf("errno %d", e)
		}
		if e := g.tryOpen("f", opening{dir: dir, base: rightRead, fdflags: flagSync}); e != errnoNotcapable {
			g.Errorf("errno %d", e)
		}
		if got := g.read(g.open("f", opening{dir: dir, base: rightRead}), 10); got != "x" {
			g.Errorf("read %q", got)
		}
	})
}

func TestFilestat(t *testing.T) {
	for module, size := range map[string]uint32{Preview1: 64, Unstable: 56} {
		t.Run(module, func(t *testing.T) {
			eachOf(t, module, func(g *guest) {
				g.file("f", "12345")
				if err := os.Link(filepath.Join(g.root, "f"), filepath.Join(g.root, "linked")); err != nil {
					g.Fatal(err)
				}
				g.link("f", "link")
				var st unix.Stat_t
				if err := unix.Lstat(filepath.Join(g.root, "f"), &st); err != nil {
					g.Fatal(err)
				}
				fd := g.open("f", opening{})
				check := func(name string) {
					var nlink uint64
					if module == Preview1 {
						nlink = g.u64(buffer + 24)
					} else {
						nlink = uint64(g.u32(buffer + 20))
					}
					rest := buffer + size - 32
					if g.u64(buffer) != uint64(st.Dev) || g.u64(buffer+8) != st.Ino || g.bytes(buffer+16, 1)[0] != 4 || nlink != 2 ||
						g.u64(rest) != 5 || g.u64(rest+16) != uint64(st.Mtim.Nano()) || g.u64(rest+24) != uint64(st.Ctim.Nano()) {
						g.Errorf("%s: % x", name, g.bytes(buffer, size))
					}
				}
				g.want(success, "fd_filestat_get", fd, buffer)
				check("fd_filestat_get")
				path, n := g.text("link")
				g.want(success, "path_filestat_get", root, 1, path, n, buffer)
				check("path_filestat_get, following")
				g.want(success, "path_filestat_get", root, 0, path, n, buffer)
				if got := g.bytes(buffer+16, 1)[0]; got != 7 {
					g.Errorf("the link is of type %d", got)
				}
				g.want(errnoInval, "path_filestat_get", root, 2, path, n, buffer)
				g.want(errnoFault, "fd_filestat_get", fd, uint64(65536-size+1))
				g.want(success, "fd_filestat_get", fd, uint64(65536-size))
			})
		})
	}
}

func TestTimes(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "")
		g.link("f", "link")
		fd := g.open("f", opening{})
		times := func(name string) (atime, mtime int64) {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(g.root, name), &st); err != nil {
				g.Fatal(err)
			}
			return st.Atim.Nano(), st.Mtim.Nano()
		}
		g.want(success, "fd_filestat_set_times", fd, 1_000_000_001, 2_000_000_002, setAtime|setMtime)
		if a, m := times("f"); a != 1_000_000_001 || m != 2_000_000_002 {
			g.Errorf("times %d and %d", a, m)
		}
		g.want(success, "fd_filestat_set_times", fd, 5, 5, setMtimeNow)
		if a, m := times("f"); a != 1_000_000_001 || time.Since(time.Unix(0, m)).Abs() > time.Hour {
			g.Errorf("times %d and %d", a, m)
		}
		g.want(errnoInval, "fd_filestat_set_times", fd, 5, 5, setMtime|setMtimeNow)
		g.want(errnoInval, "fd_filestat_set_times", fd, 5, 5, setAtime|setAtimeNow)
		g.want(errnoInval, "fd_filestat_set_times", fd, 5, 5, 1<<4)
		g.want(success, "fd_filestat_set_times", root, 7, 7, setMtime)
		if _, m := times("."); m != 7 {
			g.Errorf("the root's time is %d", m)
		}
		path, n := g.text("link")
		g.want(success, "path_filestat_set_times", root, 0, path, n, 3, 3, setMtime)
		g.want(success, "path_filestat_set_times", root, 1, path, n, 4, 4, setAtime|setMtime)
		if _, link := times("link"); link != 3 {
			g.Errorf("the link's time is %d", link)
		}
		if a, m := times("f"); a != 4 || m != 4 {
			g.Errorf("times %d and %d", a, m)
		}
	})
}
