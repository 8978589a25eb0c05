package wasi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadAndWrite(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "0123456789")
		fd := g.open("f", opening{})
		at, n := g.vector(buffer, 3, buffer+10, 0, outside, 0, buffer+100, 4)
		g.want(success, "fd_read", fd, at, n, result)
		if got := string(g.bytes(buffer, 3)) + string(g.bytes(buffer+100, 4)); got != "0123456" || g.u32(result) != 7 {
			g.Errorf("read %q, %d bytes", got, g.u32(result))
		}
		g.put(buffer, []byte("abc"))
		at, n = g.vector(buffer, 1, buffer+1, 2)
		g.want(success, "fd_write", fd, at, n, result)
		if got := g.content("f"); got != "0123456abc" || g.u32(result) != 3 {
			g.Errorf("the file has %q, %d bytes were written", got, g.u32(result))
		}
		if got := g.read(fd, 10); got != "" {
			g.Errorf("behind its end the file has %q", got)
		}
		at, n = g.vector(buffer, 2)
		g.want(success, "fd_pread", fd, at, n, 5, result)
		if got := string(g.bytes(buffer, 2)); got != "56" {
			g.Errorf("at 5 is %q", got)
		}
		g.put(buffer, []byte("XY"))
		g.want(success, "fd_pwrite", fd, at, n, 1, result)
		g.want(success, "fd_tell", fd, result)
		if got := g.content("f"); got != "0XY3456abc" || g.u64(result) != 10 {
			g.Errorf("the file has %q, the offset is %d", got, g.u64(result))
		}
		g.want(errnoInval, "fd_pread", fd, at, n, 1<<63, result)
		g.want(errnoInval, "fd_pwrite", fd, at, n, 1<<63, result)

		g.want(errnoFault, "fd_read", fd, outside, 4, result)
		g.want(errnoFault, "fd_read", fd, vectors, 1<<31, result)
		g.want(errnoFault, "fd_write", fd, at, n, outside)
		at, n = g.vector(outside, 8)
		g.want(errnoFault, "fd_read", fd, at, n, result)
		g.want(errnoFault, "fd_write", fd, at, n, result)
		g.want(errnoBadf, "fd_read", 99, at, n, result)
		if got := g.content("f"); got != "0XY3456abc" {
			g.Errorf("after errors the file has %q", got)
		}
		dir := g.open(".", opening{oflags: openDirectory})
		g.want(errnoIsdir, "fd_read", dir, at, 0, result)
	})
}

func TestMoreVectorsThanTheKernelTakes(t *testing.T) {
	each(t, func(g *guest) {
		fd := g.open("f", opening{oflags: openCreate})
		const count = maxIovecs + 10
		var array []byte
		for range count {
			array = little.AppendUint32(little.AppendUint32(array, buffer), 1)
		}
		g.put(4096, array)
		g.want(success, "fd_write", fd, 4096, count, result)
		if n := g.u32(result); n != maxIovecs {
			g.Errorf("%d bytes were written", n)
		}
	})
}

func TestSeek(t *testing.T) {
	for module, whence := range map[string][3]uint64{Preview1: {0, 1, 2}, Unstable: {2, 0, 1}} {
		t.Run(module, func(t *testing.T) {
			eachOf(t, module, func(g *guest) {
				g.file("f", "0123456789")
				fd := g.open("f", opening{})
				set, cur, end := whence[0], whence[1], whence[2]
				back := ^uint64(1) // -2
				for _, c := range []struct{ offset, whence, want uint64 }{{4, set, 4}, {back, cur, 2}, {back, end, 8}, {0, cur, 8}, {100, set, 100}} {
					g.want(success, "fd_seek", fd, c.offset, c.whence, result)
					if got := g.u64(result); got != c.want {
						g.Errorf("%d from %d is %d, want %d", int64(c.offset), c.whence, got, c.want)
					}
				}
				g.want(errnoInval, "fd_seek", fd, back, set, result)
				g.want(errnoInval, "fd_seek", fd, 0, 3, result)
				g.want(errnoFault, "fd_seek", fd, 0, set, outside)
				g.want(errnoSpipe, "fd_seek", 0, 0, cur, result)
				g.want(errnoSpipe, "fd_tell", 0, result)
				at, n := g.vector(buffer, 1)
				g.want(errnoSpipe, "fd_pread", 0, at, n, 0, result)
				g.want(errnoSpipe, "fd_pwrite", 1, at, n, 0, result)
			})
		})
	}
}

func TestSyncAndAdvise(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "x")
		for _, fd := range []uint64{g.open("f", opening{}), g.open(".", opening{oflags: openDirectory}), root} {
			g.want(success, "fd_sync", fd)
			g.want(success, "fd_datasync", fd)
		}
		fd := g.open("f", opening{})
		for advice := range uint64(6) {
			g.want(success, "fd_advise", fd, 0, 10, advice)
		}
		g.want(errnoInval, "fd_advise", fd, 0, 10, 6)
		g.want(errnoInval, "fd_advise", fd, 1<<63, 10, 0)
		g.want(errnoSpipe, "fd_advise", 0, 0, 10, 0)
		g.want(errnoBadf, "fd_sync", 99)
	})
}

func TestSizes(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "0123456789")
		fd := g.open("f", opening{})
		g.want(success, "fd_filestat_set_size", fd, 4)
		if got := g.content("f"); got != "0123" {
			g.Errorf("the file has %q", got)
		}
		g.want(success, "fd_filestat_set_size", fd, 6)
		if got := g.content("f"); got != "0123\x00\x00" {
			g.Errorf("the file has %q", got)
		}
		g.want(errnoInval, "fd_filestat_set_size", fd, 1<<63)
		g.want(success, "fd_allocate", fd, 4, 100)
		if got := g.content("f"); len(got) != 104 {
			g.Errorf("the file has %d bytes", len(got))
		}
		g.want(errnoInval, "fd_allocate", fd, 0, 0)
		g.want(errnoInval, "fd_allocate", fd, 1<<63, 1)
		g.want(errnoNotcapable, "fd_allocate", root, 0, 1)
		g.want(errnoNotcapable, "fd_filestat_set_size", root, 0)
	})
}

// What the disk has no room for is NOSPC.
func TestDiskIsFull(t *testing.T) {
	each(t, func(g *guest) {
		if err := unix.Mknod(filepath.Join(g.root, "full"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 7))); err != nil {
			g.Fatal(err)
		}
		fd := g.open("full", opening{})
		if e := g.write(fd, "x"); e != errnoNospc {
			g.Errorf("errno %d", e)
		}
	})
}

func TestCloseAndRenumber(t *testing.T) {
	each(t, func(g *guest) {
		g.file("a", "of a")
		g.file("b", "of b")
		a, b := g.open("a", opening{}), g.open("b", opening{})
		if a != 4 || b != 5 {
			g.Fatalf("descriptors %d and %d", a, b)
		}
		before := openDescriptors(g.T)
		g.want(success, "fd_renumber", a, b)
		if n := openDescriptors(g.T); n != before-1 {
			g.Errorf("%d descriptors, there were %d", n, before)
		}
		if got := g.read(b, 10); got != "of a" {
			g.Errorf("read %q", got)
		}
		g.want(errnoBadf, "fd_close", a)
		g.want(errnoBadf, "fd_renumber", a, b)
		g.want(errnoBadf, "fd_renumber", b, a)
		g.want(success, "fd_renumber", b, b)
		if again := g.open("b", opening{}); again != a {
			g.Errorf("the free number is %d, not %d", again, a)
		}
		g.want(success, "fd_close", b)
		g.want(errnoBadf, "fd_close", b)

		// The preopened directory can move, and go.
		c := g.open("b", opening{})
		g.want(success, "fd_renumber", root, c)
		g.want(errnoBadf, "fd_prestat_get", root, result)
		g.want(success, "fd_prestat_get", c, result)
		g.want(success, "fd_close", c)
		g.want(errnoBadf, "fd_prestat_get", c, result)
	})
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// A guest that closes its standard error takes nothing from the process that still
// has something to say.
func TestStandardErrorStaysOpen(t *testing.T) {
	all := table{{open: true, fd: unix.Stderr, listing: -1}}
	if e := all.close(&all[0]); e != success || all[0].open {
		t.Errorf("errno %d, open %v", e, all[0].open)
	}
	if _, err := unix.FcntlInt(uintptr(unix.Stderr), unix.F_GETFD, 0); err != nil {
		t.Error(err)
	}
}

func TestStreams(t *testing.T) {
	each(t, func(g *guest) {
		if e := g.write(0, "x"); e != errnoNotcapable {
			g.Errorf("writing to what is open for reading: errno %d", e)
		}
		if e := g.write(1, "told"); e != success {
			g.Errorf("errno %d", e)
		}
		g.want(success, "fd_fdstat_get", 0, result)
		if kind, base := g.bytes(result, 1)[0], rights(g.u64(result+8)); kind != 0 || !base.has(rightRead|rightPoll) {
			g.Errorf("stdin is of type %d with rights %b", kind, base)
		}
	})
}

// A terminal is known by its type and its rights, as wasi-libc's isatty does.
func TestTerminal(t *testing.T) {
	each(t, func(g *guest) {
		ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			g.Fatal(err)
		}
		defer ptmx.Close()
		for path, terminal := range map[string]bool{"/dev/ptmx": true, "/dev/null": false} {
			f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				g.Fatal(err)
			}
			defer f.Close()
			d, ok := g.host.stream(int(f.Fd()))
			if !ok || d.kind.filetype() != 2 || (d.base&(rightSeek|rightTell) == 0) != terminal {
				g.Errorf("%s is %d with rights %b", path, d.kind, d.base)
			}
		}
	})
}

func TestNothingAllocates(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", strings.Repeat("x", 100))
		fd := g.open("f", opening{})
		at, n := g.vector(buffer, 10, buffer+100, 10)
		path, size := g.text("f")
		for name, got := range map[string]float64{
			"fd_read":           allocations(g, (*Host).fdRead, fd, at, n, result),
			"fd_write":          allocations(g, (*Host).fdWrite, fd, at, n, result),
			"fd_pread":          allocations(g, (*Host).fdPread, fd, at, n, 0, result),
			"fd_seek":           allocations(g, (*Host).fdSeek, fd, 0, 0, result),
			"fd_fdstat_get":     allocations(g, (*Host).fdFdstatGet, fd, result),
			"fd_filestat_get":   allocations(g, (*Host).fdFilestatGet, fd, buffer),
			"fd_readdir":        allocations(g, (*Host).fdReaddir, root, buffer, 1000, 0, result),
			"clock_time_get":    allocations(g, (*Host).clockTimeGet, 1, 0, result),
			"random_get":        allocations(g, (*Host).randomGet, buffer, 16),
			"path_filestat_get": allocations(g, (*Host).pathFilestatGet, root, 1, path, size, buffer),
		} {
			if got != 0 {
				g.Errorf("%s allocates %v times", name, got)
			}
		}
	})
}
