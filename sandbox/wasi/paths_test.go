package wasi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOpen(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "content")
		g.dir("dir")
		g.link("f", "link")
		g.link("nothing", "dangling")
		for _, c := range []struct {
			path string
			o    opening
			want errno
		}{
			{"f", opening{}, success},
			{"./dir/../f", opening{}, success},
			{"nothing", opening{}, errnoNoent},
			{"f", opening{oflags: openDirectory}, errnoNotdir},
			{"f/", opening{}, errnoNotdir},
			{"f/x", opening{}, errnoNotdir},
			{"dir", opening{}, errnoIsdir},
			{"dir", opening{base: rightRead}, success},
			{"dir", opening{oflags: openDirectory}, success},
			{"dir/", opening{base: rightRead}, success},
			{"new", opening{oflags: openCreate}, success},
			{"new", opening{oflags: openCreate | openExclusive}, errnoExist},
			{"newer", opening{oflags: openCreate | openExclusive}, success},
			{"dir2", opening{oflags: openCreate | openDirectory}, errnoInval},
			{"link", opening{}, success},
			{"link", opening{nofollow: true}, errnoLoop},
			{"dangling", opening{}, errnoNoent},
			{"dangling", opening{oflags: openCreate | openExclusive}, errnoExist},
			{"dangling", opening{oflags: openCreate, nofollow: true}, errnoLoop},
			{"dangling", opening{oflags: openCreate}, success},
			{"", opening{}, errnoNoent},
			{"a\x00b", opening{}, errnoInval},
			{strings.Repeat("a", 256), opening{}, errnoNametoolong},
			{strings.Repeat("a/", 2100), opening{}, errnoNametoolong},
			{"f", opening{oflags: 1 << 4}, errnoInval},
			{"f", opening{fdflags: 1 << 5}, errnoInval},
		} {
			if got := g.tryOpen(c.path, c.o); got != c.want {
				g.Errorf("%.20q %+v: errno %d, want %d", c.path, c.o, got, c.want)
			}
		}
		if got := g.content("nothing"); got != "" {
			g.Errorf("through the link came %q", got)
		}
		g.open("f", opening{oflags: openTruncate})
		if got := g.content("f"); got != "" {
			g.Errorf("truncated it has %q", got)
		}
		path, size := g.text("unheard")
		g.want(errnoFault, "path_open", root, 1, path, size, openCreate, uint64(allRights), 0, 0, outside)
		if _, err := os.Lstat(filepath.Join(g.root, "unheard")); err == nil {
			g.Error("a file was made whose descriptor cannot be told")
		}
		g.want(errnoFault, "path_open", root, 1, outside, 8, 0, 0, 0, 0, result)
		g.want(errnoInval, "path_open", root, 2, path, size, 0, 0, 0, 0, result)
		g.want(errnoBadf, "path_open", 99, 1, path, size, 0, 0, 0, 0, result)
		g.want(errnoNotdir, "path_open", 0, 1, path, size, 0, 0, 0, 0, result)
		// Rights that nobody knows are none.
		g.want(success, "path_open", root, 1, path, size, openCreate, ^uint64(0), ^uint64(0), 0, result)
	})
}

// Rights decide how a file is opened: without those to write, a file that cannot
// be written to opens.
func TestOpenWithTheRightsOnly(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "x")
		for _, c := range []struct {
			base rights
			mode int
		}{
			{rightRead, unix.O_RDONLY}, {rightWrite, unix.O_WRONLY}, {rightRead | rightWrite, unix.O_RDWR},
			{rightSetSize | rightRead, unix.O_RDONLY}, {rightFilestat, unix.O_RDONLY},
		} {
			fd := g.open("f", opening{base: c.base})
			flags, _ := g.host.table[fd].flags()
			if int(flags)&unix.O_ACCMODE != c.mode {
				g.Errorf("rights %b open with %b", c.base, flags)
			}
		}
	})
}

// outsideOf puts a file beside the root directory that no guest may reach.
func (g *guest) outsideOf() (secret string) {
	g.Helper()
	secret = filepath.Join(g.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		g.Fatal(err)
	}
	return secret
}

func TestNoPathLeadsOut(t *testing.T) {
	each(t, func(g *guest) {
		secret := g.outsideOf()
		up := strings.Repeat("../", 20) + secret[1:]
		g.dir("dir")
		g.file("f", "")
		g.link(secret, "absolute")
		g.link(up, "up")
		g.link("../"+filepath.Base(g.root)+"/f", "around")
		g.link(filepath.Dir(secret), "folder")
		dir := g.open("dir", opening{oflags: openDirectory})
		for _, path := range []string{"..", "../x", secret, up, "dir/../../x", "dir/" + up, "/", "//f", "./.."} {
			g.wantOnPath(errnoPerm, path)
		}
		for _, path := range []string{"..", "../f", "/f", up} {
			if e := g.tryOpen(path, opening{dir: dir}); e != errnoPerm {
				g.Errorf("%s from a directory: errno %d", path, e)
			}
		}
		// The root is the root for links as well, and there is no such file.
		for _, path := range []string{"absolute", "up", "folder/secret"} {
			if e := g.tryOpen(path, opening{}); e != errnoNoent {
				g.Errorf("%s: errno %d", path, e)
			}
		}
		// From other directories a link that leads out is what it is.
		g.link("../f", "dir/sibling")
		g.link("/f", "dir/absolute")
		for _, path := range []string{"sibling", "absolute"} {
			if e := g.tryOpen("dir/"+path, opening{}); e != success {
				g.Errorf("dir/%s from the root: errno %d", path, e)
			}
			if e := g.tryOpen(path, opening{dir: dir}); e != errnoPerm {
				g.Errorf("%s from dir: errno %d", path, e)
			}
		}
		if content, err := os.ReadFile(secret); err != nil || string(content) != "secret" {
			g.Errorf("the file outside has %q, %v", content, err)
		}
	})
}

// wantOnPath expects the errno of every function that takes a path.
func (g *guest) wantOnPath(want errno, path string) {
	g.Helper()
	at, size := g.text(path)
	other, otherSize := g.text("f2")
	file, fileSize := g.text("f")
	for name, args := range map[string][]uint64{
		"path_open":               {root, 1, at, size, openCreate, uint64(rightRead), 0, 0, result},
		"path_create_directory":   {root, at, size},
		"path_remove_directory":   {root, at, size},
		"path_unlink_file":        {root, at, size},
		"path_readlink":           {root, at, size, buffer, 100, result},
		"path_filestat_get":       {root, 1, at, size, buffer},
		"path_filestat_set_times": {root, 1, at, size, 1, 1, setMtime},
		"path_symlink":            {other, otherSize, root, at, size},
	} {
		if got := g.call(name, args...); got != want {
			g.Errorf("%s %s: errno %d, want %d", name, path, got, want)
		}
	}
	g.want(want, "path_rename", root, at, size, root, other, otherSize)
	g.want(want, "path_rename", root, file, fileSize, root, at, size)
	g.want(want, "path_link", root, 0, at, size, root, other, otherSize)
	g.want(want, "path_link", root, 1, at, size, root, other, otherSize)
	g.want(want, "path_link", root, 0, file, fileSize, root, at, size)
}

// A guest that resolves names while another exchanges a directory and a link never
// gets at what is outside.
func TestRaces(t *testing.T) {
	each(t, func(g *guest) {
		secret := g.outsideOf()
		g.dir("d")
		if err := os.WriteFile(filepath.Join(g.root, "d/secret"), []byte("decoy"), 0o644); err != nil {
			g.Fatal(err)
		}
		g.link(strings.Repeat("../", 20)+filepath.Dir(secret)[1:], "other")
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			a, b := filepath.Join(g.root, "d"), filepath.Join(g.root, "other")
			for {
				select {
				case <-stop:
					return
				default:
					_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
				}
			}
		}()
		hits, misses := 0, 0
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
			g.next = texts
			if e := g.tryOpen("d/secret", opening{base: rightRead}); e != success {
				misses++
				continue
			}
			hits++
			fd := uint64(g.u32(result))
			if got := g.read(fd, 10); got != "decoy" {
				g.Errorf("read %q", got)
			}
			g.want(success, "fd_close", fd)
			g.onPath("path_unlink_file", root, "d/nothing")
		}
		close(stop)
		<-stopped
		if hits == 0 || misses == 0 {
			g.Errorf("%d hits and %d misses: nothing was tried", hits, misses)
		}
	})
}

func TestDirectories(t *testing.T) {
	each(t, func(g *guest) {
		do := func(want errno, name, path string) {
			g.Helper()
			if got := g.onPath(name, root, path); got != want {
				g.Errorf("%s %s: errno %d, want %d", name, path, got, want)
			}
		}
		do(success, "path_create_directory", "dir")
		do(errnoExist, "path_create_directory", "dir")
		do(success, "path_create_directory", "dir/in/")
		do(errnoNoent, "path_create_directory", "none/in")
		do(errnoNotempty, "path_remove_directory", "dir")
		do(success, "path_remove_directory", "dir/in/")
		g.file("f", "")
		g.link("dir", "link")
		do(errnoNotdir, "path_remove_directory", "f")
		do(errnoNotdir, "path_remove_directory", "link")
		do(errnoIsdir, "path_unlink_file", "dir")
		do(errnoNotdir, "path_unlink_file", "f/")
		do(errnoNotdir, "path_unlink_file", "link/")
		do(success, "path_unlink_file", "link")
		do(success, "path_unlink_file", "f")
		do(errnoNoent, "path_unlink_file", "f")
		do(success, "path_remove_directory", "dir")
		do(errnoNoent, "path_create_directory", "g/x")
	})
}

func TestRename(t *testing.T) {
	each(t, func(g *guest) {
		g.file("a", "of a")
		g.file("b", "of b")
		g.dir("dir")
		do := func(want errno, from, to string) {
			g.Helper()
			at, size := g.text(to)
			if got := g.onPath("path_rename", root, from, root, at, size); got != want {
				g.Errorf("%s to %s: errno %d, want %d", from, to, got, want)
			}
		}
		do(success, "a", "b")
		if got := g.content("b"); got != "of a" {
			g.Errorf("b has %q", got)
		}
		do(success, "b", "dir/c")
		do(errnoNoent, "b", "c")
		do(errnoNotdir, "dir/c/", "c")
		g.dir("other")
		do(errnoIsdir, "dir/c", "dir/../other")
		do(errnoInval, "dir", "dir/in")
		do(success, "dir/", "moved/")
		dir := g.open("moved", opening{oflags: openDirectory})
		at, size := g.text("back")
		if e := g.onPath("path_rename", dir, "c", root, at, size); e != success {
			g.Errorf("between directories: errno %d", e)
		}
		if got := g.content("back"); got != "of a" {
			g.Errorf("back has %q", got)
		}
	})
}

func TestSymlinkAndReadlink(t *testing.T) {
	each(t, func(g *guest) {
		link := func(want errno, target, path string) {
			g.Helper()
			at, size := g.text(target)
			to, toSize := g.text(path)
			if got := g.call("path_symlink", at, size, root, to, toSize); got != want {
				g.Errorf("%s to %q: errno %d, want %d", path, target, got, want)
			}
		}
		link(success, "target", "link")
		link(errnoExist, "target", "link")
		link(errnoPerm, "/target", "absolute")
		link(success, "../../up", "up")
		link(errnoNoent, "", "none")
		g.file("f", "")
		read := func(want errno, path string, size uint64) {
			g.Helper()
			if got := g.onPath("path_readlink", root, path, buffer, size, result); got != want {
				g.Errorf("%s: errno %d, want %d", path, got, want)
			}
		}
		read(success, "link", 100)
		if got := string(g.bytes(buffer, g.u32(result))); got != "target" {
			g.Errorf("read %q", got)
		}
		read(success, "link", 3)
		if got := string(g.bytes(buffer, g.u32(result))); got != "tar" {
			g.Errorf("read %q", got)
		}
		read(success, "link", 0)
		read(errnoInval, "f", 100)
		read(errnoInval, ".", 100)
		read(errnoNoent, "none", 100)
	})
}

func TestLink(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "of f")
		g.dir("dir")
		g.link("f", "link")
		g.link("../link", "dir/chain")
		g.link("/dir/chain", "absolute")
		g.link("loop2", "loop1")
		g.link("loop1", "loop2")
		link := func(want errno, follow uint64, from, to string) {
			g.Helper()
			at, size := g.text(from)
			new, newSize := g.text(to)
			if got := g.call("path_link", root, follow, at, size, root, new, newSize); got != want {
				g.Errorf("%s to %s: errno %d, want %d", from, to, got, want)
			}
		}
		same := func(a, b string) {
			g.Helper()
			x, errX := os.Lstat(filepath.Join(g.root, a))
			y, errY := os.Lstat(filepath.Join(g.root, b))
			if errX != nil || errY != nil || !os.SameFile(x, y) {
				g.Errorf("%s is not %s", a, b)
			}
		}
		link(success, 0, "f", "1")
		same("f", "1")
		link(success, 0, "link", "2")
		same("link", "2")
		link(success, 1, "link", "3")
		same("f", "3")
		link(success, 1, "dir/chain", "dir/4")
		same("f", "dir/4")
		link(success, 1, "absolute", "5")
		same("f", "5")
		link(errnoLoop, 1, "loop1", "6")
		link(errnoExist, 0, "f", "1")
		link(errnoNoent, 0, "none", "6")
		link(errnoPerm, 0, "dir", "6")
		link(errnoPerm, 0, "dir/", "6")
		link(errnoNotdir, 0, "f/", "6")
		link(errnoNotdir, 0, "link/", "6")
		link(errnoInval, 2, "f", "6")
	})
}
