package wasi

import (
	"os"
	"testing"

	"github.com/tetratelabs/wazero"
)

// FuzzCalls has a guest call any function with any parameters and any memory. The
// answer is an errno: no call ends the process, and none reaches beside the memory.
func FuzzCalls(f *testing.F) {
	for i := range functions {
		f.Add(uint8(i), []byte("f\x00dir/../f"), uint64(root), uint64(0), uint64(1), uint64(1), uint64(0), uint64(1<<29-1), uint64(0), uint64(0), uint64(16))
		f.Add(uint8(i), []byte{}, ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0))
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		f.Fatal(err)
	}
	defer null.Close()
	f.Fuzz(func(t *testing.T, i uint8, memory []byte, a, b, c, d, e, f, g, h, j uint64) {
		function := functions[int(i)%len(functions)]
		switch function.name {
		case "proc_exit", "proc_raise", "poll_oneoff", "fd_allocate": // which end, wait or take the disk by design
			return
		}
		fd := int(null.Fd())
		guest := newGuest(t, wazero.NewRuntimeConfigInterpreter(), Preview1, Config{Streams: [3]int{fd, fd, fd}})
		guest.file("f", "content")
		guest.dir("dir")
		guest.put(0, memory[:min(len(memory), 1<<16)])
		args := []uint64{a, b, c, d, e, f, g, h, j}[:len(function.params)]
		for n := range args {
			if function.params[n] == 'i' {
				args[n] = uint64(uint32(args[n]))
			}
		}
		if got := guest.call(function.name, args...); got > errnoNotcapable {
			t.Errorf("%s: errno %d", function.name, got)
		}
	})
}

// FuzzSubscriptions has poll_oneoff read any subscriptions. One of them is over at
// once, so that none is waited for.
func FuzzSubscriptions(f *testing.F) {
	f.Add([]byte{8: eventRead}, false)
	f.Add([]byte{8: eventWrite, 16: root}, true)
	f.Add([]byte{8: eventClock, 16: clockThread, 24: 255, 31: 255, 40: 1}, false)
	f.Fuzz(func(t *testing.T, content []byte, old bool) {
		s := &subscriptions{unstable: old}
		s.clock(0, clockMonotonic, 0, 0)
		size := int(s.layout().size)
		module, count := Preview1, min(len(content)/size, 100)
		if old {
			module = Unstable
		}
		g := newGuest(t, wazero.NewRuntimeConfigInterpreter(), module, Config{Streams: streams(t)})
		s.b, s.n = append(s.b, content[:count*size]...), s.n+uint64(count)
		g.put(polledFrom, s.b)
		switch e := g.call("poll_oneoff", polledFrom, polledTo, s.n, result); {
		case e != success && e != errnoInval:
			t.Errorf("errno %d", e)
		case e == success && (g.u32(result) == 0 || uint64(g.u32(result)) > s.n):
			t.Errorf("%d events of %d subscriptions", g.u32(result), s.n)
		}
	})
}
