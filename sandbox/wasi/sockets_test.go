package wasi

import (
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/unix"
)

func TestSockets(t *testing.T) {
	each(t, func(g *guest) {
		listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			g.Fatal(err)
		}
		if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			g.Fatal(err)
		}
		if err := unix.Listen(listener, 5); err != nil {
			g.Fatal(err)
		}
		address, err := unix.Getsockname(listener)
		if err != nil {
			g.Fatal(err)
		}
		fd := uint64(g.add(listener))
		g.want(success, "fd_fdstat_set_flags", fd, flagNonblock)
		g.want(errnoAgain, "sock_accept", fd, 0, result)
		s := &subscriptions{}
		s.fd(1, eventRead, uint32(fd))
		s.clock(2, clockMonotonic, uint64(time.Millisecond), 0)
		g.wantEvents(s, event{userdata: 2})

		client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			g.Fatal(err)
		}
		defer unix.Close(client)
		if err := unix.Connect(client, address); err != nil {
			g.Fatal(err)
		}
		if got := g.poll(s); len(got) != 1 || got[0].userdata != 1 || got[0].error != success {
			g.Errorf("events %+v", got)
		}
		g.want(errnoInval, "sock_accept", fd, flagAppend, result)
		g.want(errnoFault, "sock_accept", fd, 0, outside)
		g.want(success, "sock_accept", fd, flagNonblock, result)
		conn := uint64(g.u32(result))
		g.want(success, "fd_fdstat_get", conn, buffer)
		if kind, flags := g.bytes(buffer, 1)[0], g.u16(buffer+2); kind != 6 || flags != flagNonblock {
			g.Errorf("type %d, flags %b", kind, flags)
		}
		at, n := g.vector(buffer, 3, buffer+3, 10)
		g.want(errnoAgain, "sock_recv", conn, at, n, 0, result, result2)
		if _, err := unix.Write(client, []byte("hello")); err != nil {
			g.Fatal(err)
		}
		g.want(success, "sock_recv", conn, at, n, recvPeek, result, result2)
		if got := string(g.bytes(buffer, g.u32(result))); got != "hel" {
			g.Errorf("peeked %q", got)
		}
		g.want(success, "sock_recv", conn, at, n, 0, result, result2)
		if got := string(g.bytes(buffer, g.u32(result))); got != "hello" || g.u16(result2) != 0 {
			g.Errorf("received %q", got)
		}
		g.want(errnoInval, "sock_recv", conn, at, n, 4, result, result2)
		g.put(buffer, []byte("answer"))
		at, n = g.vector(buffer, 6)
		g.want(errnoInval, "sock_send", conn, at, n, 1, result)
		g.want(success, "sock_send", conn, at, n, 0, result)
		g.want(success, "sock_shutdown", conn, shutdownWr)
		g.want(errnoInval, "sock_shutdown", conn, 0)
		g.want(errnoInval, "sock_shutdown", conn, 4)
		var got [20]byte
		if n, err := unix.Read(client, got[:]); err != nil || string(got[:n]) != "answer" {
			g.Errorf("the client has %q, %v", got[:n], err)
		}
		if n, err := unix.Read(client, got[:]); err != nil || n != 0 {
			g.Errorf("the client's end: %d, %v", n, err)
		}
		g.want(errnoPipe, "sock_send", conn, at, n, 0, result)
	})
}

// Sockets that a guest has from its beginning follow its directories, which a guest
// looks for until it meets the first descriptor that is none.
func TestGivenSockets(t *testing.T) {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuest(t, wazero.NewRuntimeConfigInterpreter(), Preview1, Config{Streams: streams(t), Sockets: []int{listener}})
	g.want(success, "fd_prestat_get", root, result)
	g.want(errnoBadf, "fd_prestat_get", root+1, result)
	g.want(success, "fd_fdstat_get", root+1, result)
	if kind := g.bytes(result, 1)[0]; kind != 6 || !rights(g.u64(result+8)).has(rightAccept) {
		t.Errorf("type %d, rights %b", kind, g.u64(result+8))
	}
	if _, err := New(Config{Sockets: []int{-1}}); err == nil || !strings.Contains(err.Error(), "descriptor -1 is no socket") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoSocket(t *testing.T) {
	each(t, func(g *guest) {
		at, n := g.vector(buffer, 6)
		g.want(errnoNotsock, "sock_accept", root, 0, result)
		g.want(errnoNotsock, "sock_recv", 0, at, n, 0, result, result2)
		g.want(errnoNotsock, "sock_send", 1, at, n, 0, result)
		g.want(errnoNotsock, "sock_shutdown", 1, shutdownRd)
		g.want(errnoBadf, "sock_accept", 99, 0, result)
		g.want(errnoBadf, "sock_recv", 99, at, n, 0, result, result2)
		g.want(errnoBadf, "sock_send", 99, at, n, 0, result)
		g.want(errnoBadf, "sock_shutdown", 99, shutdownRd)
	})
}
