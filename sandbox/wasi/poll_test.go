package wasi

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// subscriptions builds what poll_oneoff takes, for either module.
type subscriptions struct {
	unstable bool
	b        []byte
	n        uint64
}

func (s *subscriptions) layout() subscriptionLayout {
	if s.unstable {
		return unstableSubscription
	}
	return preview1Subscription
}

func (s *subscriptions) add(userdata uint64, event byte) []byte {
	layout := s.layout()
	s.b = append(s.b, make([]byte, layout.size)...)
	s.n++
	one := s.b[len(s.b)-int(layout.size):]
	little.PutUint64(one, userdata)
	one[8] = event
	return one
}

func (s *subscriptions) clock(userdata uint64, clock uint32, timeout uint64, flags uint16) {
	one := s.add(userdata, eventClock)[s.layout().clock:]
	little.PutUint32(one, clock)
	little.PutUint64(one[8:], timeout)
	little.PutUint16(one[24:], flags)
}

func (s *subscriptions) fd(userdata uint64, event byte, fd uint32) {
	little.PutUint32(s.add(userdata, event)[16:], fd)
}

// event is one of poll_oneoff's.
type event struct {
	userdata uint64
	error    errno
	event    byte
	nbytes   uint64
	flags    uint16
}

// Where poll_oneoff reads and writes.
const (
	polledFrom = 4096
	polledTo   = 16 << 10
)

func (g *guest) poll(s *subscriptions) (events []event) {
	g.Helper()
	g.put(polledFrom, s.b)
	g.want(success, "poll_oneoff", polledFrom, polledTo, s.n, result)
	b := g.bytes(polledTo, g.u32(result)*eventSize)
	for ; len(b) > 0; b = b[eventSize:] {
		events = append(events, event{little.Uint64(b), errno(little.Uint16(b[8:])), b[10], little.Uint64(b[16:]), little.Uint16(b[24:])})
	}
	return events
}

func (g *guest) wantEvents(s *subscriptions, want ...event) {
	g.Helper()
	got := g.poll(s)
	if len(got) != len(want) {
		g.Fatalf("events %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			g.Errorf("event %+v, want %+v", got[i], want[i])
		}
	}
}

// add gives a guest a descriptor of the kernel's.
func (g *guest) add(fd int) uint32 {
	g.Helper()
	d, ok := g.host.stream(fd)
	if !ok {
		g.Fatalf("no descriptor %d", fd)
	}
	return g.host.table.add(d)
}

func TestPollOfClocks(t *testing.T) {
	for _, module := range []string{Preview1, Unstable} {
		t.Run(module, func(t *testing.T) {
			eachOf(t, module, func(g *guest) {
				for _, clock := range []uint32{clockRealtime, clockMonotonic} {
					for _, absolute := range []bool{false, true} {
						const sleep = 20 * time.Millisecond
						s := &subscriptions{unstable: module == Unstable}
						timeout, flags := uint64(sleep), uint16(0)
						if absolute {
							g.want(success, "clock_time_get", uint64(clock), 0, result)
							timeout, flags = g.u64(result)+timeout, subscribedAbstime
						}
						s.clock(1, clock, uint64(time.Hour)+timeout, flags)
						s.clock(2, clock, timeout, flags)
						began := time.Now()
						g.wantEvents(s, event{userdata: 2})
						if took := time.Since(began); took < sleep-time.Millisecond || took > 100*sleep {
							g.Errorf("clock %d, absolute %v: it took %v", clock, absolute, took)
						}
					}
				}
				past := &subscriptions{unstable: module == Unstable}
				past.clock(1, clockMonotonic, 1, subscribedAbstime)
				past.clock(2, clockMonotonic, 0, 0)
				past.clock(3, clockRealtime, 1, subscribedAbstime)
				past.clock(4, clockProcess, 0, 0)
				past.clock(5, clockThread, 1, subscribedAbstime)
				past.clock(6, clockProcess, uint64(time.Hour), 0)
				past.clock(7, 4, 0, 0)
				past.clock(8, clockMonotonic, 0, 2)
				past.clock(9, clockMonotonic, ^uint64(0), 0)
				g.wantEvents(past, event{userdata: 1}, event{userdata: 2}, event{userdata: 3}, event{userdata: 4}, event{userdata: 5},
					event{userdata: 6, error: errnoNotsup}, event{userdata: 7, error: errnoInval}, event{userdata: 8, error: errnoInval})
			})
		})
	}
}

func TestPollOfPipes(t *testing.T) {
	for _, module := range []string{Preview1, Unstable} {
		t.Run(module, func(t *testing.T) {
			eachOf(t, module, func(g *guest) {
				p := pipe(g.T)
				in, out := g.add(p[0]), g.add(p[1])
				s := &subscriptions{unstable: module == Unstable}
				s.fd(1, eventRead, in)
				s.clock(2, clockMonotonic, uint64(10*time.Millisecond), 0)
				g.wantEvents(s, event{userdata: 2})
				both := &subscriptions{unstable: module == Unstable}
				both.fd(1, eventRead, in)
				both.fd(2, eventWrite, out)
				g.wantEvents(both, event{userdata: 2, event: eventWrite})
				if _, err := unix.Write(p[1], []byte("hello")); err != nil {
					g.Fatal(err)
				}
				g.wantEvents(both, event{userdata: 1, event: eventRead, nbytes: 5}, event{userdata: 2, event: eventWrite})
				// A pipe that is full is not ready.
				if err := unix.SetNonblock(p[1], true); err != nil {
					g.Fatal(err)
				}
				for {
					if _, err := unix.Write(p[1], make([]byte, 4096)); err == unix.EAGAIN {
						break
					}
				}
				full := &subscriptions{unstable: module == Unstable}
				full.fd(1, eventWrite, out)
				full.clock(2, clockMonotonic, 1, 0)
				g.wantEvents(full, event{userdata: 2})
			})
		})
	}
}

// Who reads from a pipe that nobody writes to learns so, and who writes to one that
// nobody reads.
func TestPollOfHangups(t *testing.T) {
	each(t, func(g *guest) {
		var p, q [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			g.Fatal(err)
		}
		if err := unix.Pipe2(q[:], unix.O_CLOEXEC); err != nil {
			g.Fatal(err)
		}
		s := &subscriptions{}
		s.fd(1, eventRead, g.add(p[0]))
		s.fd(2, eventWrite, g.add(q[1]))
		unix.Close(p[1])
		unix.Close(q[0])
		g.wantEvents(s, event{1, success, eventRead, 0, eventHangup}, event{2, success, eventWrite, 0, eventHangup})
	})
}

func TestPollOfFilesAndErrors(t *testing.T) {
	each(t, func(g *guest) {
		g.file("f", "0123456789")
		fd := g.open("f", opening{})
		g.read(fd, 3)
		deaf := g.open("f", opening{base: rightRead | rightWrite})
		s := &subscriptions{}
		s.fd(1, eventRead, uint32(fd))
		s.fd(2, eventWrite, uint32(fd))
		s.fd(3, eventRead, 99)
		s.fd(4, eventRead, uint32(deaf))
		s.clock(5, clockMonotonic, uint64(time.Hour), 0)
		g.wantEvents(s, event{1, success, eventRead, 7, 0}, event{2, success, eventWrite, 0, 0},
			event{3, errnoBadf, eventRead, 0, 0}, event{4, errnoNotcapable, eventRead, 0, 0})
		g.want(errnoInval, "poll_oneoff", polledFrom, polledTo, 0, result)
		g.want(errnoFault, "poll_oneoff", outside, polledTo, 1, result)
		g.want(errnoFault, "poll_oneoff", polledFrom, outside, 1, result)
		g.want(errnoFault, "poll_oneoff", polledFrom, polledTo, 1, outside)
		g.want(errnoFault, "poll_oneoff", polledFrom, polledTo, 1<<31, result)
		unknown := &subscriptions{}
		unknown.add(1, 3)
		g.put(polledFrom, unknown.b)
		g.want(errnoInval, "poll_oneoff", polledFrom, polledTo, 1, result)
		// Events may be written over the subscriptions.
		g.put(polledFrom, s.b)
		g.want(success, "poll_oneoff", polledFrom, polledFrom, s.n, result)
		if n, last := g.u32(result), g.u64(polledFrom+3*eventSize); n != 4 || last != 4 {
			g.Errorf("%d events, the last one is of %d", n, last)
		}
	})
}

func TestPollOfMany(t *testing.T) {
	each(t, func(g *guest) {
		p := pipe(g.T)
		in, out := g.add(p[0]), g.add(p[1])
		s := &subscriptions{}
		for i := range uint64(100) {
			s.fd(i, eventRead, in)
		}
		s.fd(100, eventWrite, out)
		g.wantEvents(s, event{userdata: 100, event: eventWrite})
	})
}

// Waiting takes no processor time, and the wait ends when there is something.
func TestPollSleeps(t *testing.T) {
	each(t, func(g *guest) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p := pipe(g.T)
		s := &subscriptions{}
		s.fd(1, eventRead, g.add(p[0]))
		s.clock(2, clockRealtime, uint64(time.Minute), 0)
		const wait = 300 * time.Millisecond
		time.AfterFunc(wait, func() { _, _ = unix.Write(p[1], []byte("x")) })
		before, began := g.host.now(clockThread), time.Now()
		g.wantEvents(s, event{userdata: 1, event: eventRead, nbytes: 1})
		if took := time.Since(began); took < wait/2 || took > 20*wait {
			g.Errorf("it took %v", took)
		}
		if used := time.Duration(g.host.now(clockThread) - before); used > wait/10 {
			g.Errorf("waiting took %v of processor time", used)
		}
	})
}

func TestPollDoesNotAllocate(t *testing.T) {
	each(t, func(g *guest) {
		p := pipe(g.T)
		s := &subscriptions{}
		s.fd(1, eventRead, g.add(p[0]))
		s.fd(2, eventWrite, g.add(p[1]))
		s.clock(3, clockMonotonic, 1000, 0)
		g.put(polledFrom, s.b)
		if n := allocations(g, (*Host).pollOneoff, polledFrom, polledTo, s.n, result); n != 0 {
			g.Errorf("poll_oneoff allocates %v times", n)
		}
	})
}
