package wasi

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMagicLinks(t *testing.T) {
	for _, path := range []string{"proc/self/root", "proc/self/exe", "proc/self/fd/3", "proc/self/root/etc", "proc/self/cwd"} {
		each(t, func(g *guest) {
			g.becomesRoot()
			if e := g.tryOpen(path, opening{base: rightRead}); e != errnoLoop {
				g.Errorf("%s: errno %d", path, e)
			}
		})
	}
}

// becomesRoot has the process's root directory preopened.
func (g *guest) becomesRoot() {
	g.Helper()
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		g.Fatal(err)
	}
	unix.Close(g.host.table[root].fd)
	g.host.table[root].fd = fd
}

// A guest's streams have names.
func TestStreamsByName(t *testing.T) {
	each(t, func(g *guest) {
		g.becomesRoot()
		p := pipe(g.T)
		g.host.table[1].fd = p[1]
		dir, err := filepath.Rel("/", g.root)
		if err != nil {
			g.Fatal(err)
		}
		g.link("/dev/stdout", "log")
		for _, path := range []string{"dev/stdout", "dev/fd/1", "proc/self/fd/1", "dev/../dev/./stdout", dir + "/log"} {
			fd := g.open(path, opening{base: rightWrite | rightFilestat, oflags: openCreate | openTruncate})
			if e := g.write(fd, "told"); e != success {
				g.Errorf("%s: errno %d", path, e)
			}
			g.want(success, "fd_close", fd)
			var b [10]byte
			if n, err := unix.Read(p[0], b[:]); err != nil || string(b[:n]) != "told" {
				g.Errorf("%s: %q came, %v", path, b[:n], err)
			}
			at, size := g.text(path)
			g.want(success, "path_filestat_get", root, 1, at, size, buffer)
			if e := g.tryOpen(path, opening{base: rightRead}); e != errnoAcces {
				g.Errorf("%s to be read: errno %d", path, e)
			}
		}
		// It is the guest's descriptor, not the kernel's of that number.
		g.host.table[0].open = false
		if e := g.tryOpen("dev/stdin", opening{base: rightRead}); e != errnoLoop {
			g.Errorf("what is closed: errno %d", e)
		}
	})
}
