package wasi

import (
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The specification's eventtype.
const (
	eventClock = iota
	eventRead
	eventWrite
)

const (
	// subscribedAbstime is subclockflags::subscription_clock_abstime.
	subscribedAbstime = 1
	// eventHangup is eventrwflags::fd_readwrite_hangup.
	eventHangup = 1
	eventSize   = 32
	// polled is how many subscriptions take no allocation.
	polled = 64
	// wallClockStep bounds a wait for a time of day, in nanoseconds: so late may be
	// noticed that the clock was set.
	wallClockStep = 10e9
)

// subscriptionLayout is where the fields are that differ between the modules.
type subscriptionLayout struct{ size, clock uint64 }

var (
	preview1Subscription = subscriptionLayout{size: 48, clock: 16}
	// unstableSubscription has an identifier before the clock.
	unstableSubscription = subscriptionLayout{size: 56, clock: 24}
)

// subscription is one of a call's.
type subscription struct {
	userdata uint64
	error    errno
	event    byte
	// done says that there is something to tell without waiting.
	done bool
	// Of a clock: when it is time by that clock.
	clock    uint32
	deadline int64
	absolute bool
	// Of a descriptor; polled is what the kernel says of it.
	fd     int
	kind   kind
	polled *unix.PollFd
}

// pollState is what a call needs, and what no call needs to allocate.
type pollState struct {
	subscriptions [polled]subscription
	polls         [polled]unix.PollFd
	timeout       unix.Timespec
}

// pollOneoff is poll_oneoff(in, out, nsubscriptions) -> size.
func (h *Host) pollOneoff(s []uint64) errno { return h.pollWith(s, preview1Subscription) }

// pollOneoffUnstable has longer subscriptions.
func (h *Host) pollOneoffUnstable(s []uint64) errno { return h.pollWith(s, unstableSubscription) }

func (h *Host) pollWith(s []uint64, layout subscriptionLayout) errno {
	count := uint64(uint32(s[2]))
	if count == 0 {
		return errnoInval
	}
	in, e := h.view(s[0], count*layout.size)
	if e != success {
		return e
	}
	out, e := h.view(s[1], count*eventSize)
	if e != success {
		return e
	}
	result, e := h.view(s[3], 4)
	if e != success {
		return e
	}
	subscriptions, polls := h.poll.subscriptions[:0], h.poll.polls[:0]
	if count > polled {
		subscriptions, polls = make([]subscription, 0, count), make([]unix.PollFd, 0, count)
	}
	// All of them are read before any event is written: the two may overlap.
	for ; len(in) > 0; in = in[layout.size:] {
		sub, e := h.subscribe(in[:layout.size], layout)
		if e != success {
			return e
		}
		if !sub.done && sub.event != eventClock {
			polls = append(polls, unix.PollFd{Fd: int32(sub.fd), Events: pollEvents(sub.event)})
			sub.polled = &polls[len(polls)-1]
		}
		subscriptions = append(subscriptions, sub)
	}
	n, e := h.wait(subscriptions, polls)
	if e != success {
		return e
	}
	for i := range subscriptions {
		if sub := &subscriptions[i]; sub.done {
			h.putEvent(out, sub)
			out = out[eventSize:]
		}
	}
	little.PutUint32(result, n)
	return success
}

// subscribe reads a subscription. What is wrong with one of them alone is an event;
// what the specification does not know is an error of the call.
func (h *Host) subscribe(in []byte, layout subscriptionLayout) (sub subscription, e errno) {
	sub.userdata, sub.event = little.Uint64(in), in[8]
	switch sub.event {
	case eventClock:
		clock := in[layout.clock:]
		h.subscribeClock(&sub, little.Uint32(clock), little.Uint64(clock[8:]), little.Uint16(clock[24:]))
	case eventRead:
		h.subscribeDescriptor(&sub, little.Uint32(in[16:]), rightPoll|rightRead)
	case eventWrite:
		h.subscribeDescriptor(&sub, little.Uint32(in[16:]), rightPoll|rightWrite)
	default:
		return sub, errnoInval
	}
	sub.done = sub.done || sub.error != success
	return sub, success
}

func (h *Host) subscribeClock(sub *subscription, clock uint32, timeout uint64, flags uint16) {
	if clock >= clocks || flags&^subscribedAbstime != 0 {
		sub.error = errnoInval
		return
	}
	sub.clock, sub.absolute = clock, flags&subscribedAbstime != 0
	sub.deadline = int64(min(timeout, math.MaxInt64))
	if !sub.absolute {
		// A span of time passes whatever the time of day is set to.
		if clock == clockRealtime {
			sub.clock = clockMonotonic
		}
		if sub.deadline += h.now(sub.clock); sub.deadline < 0 {
			sub.deadline = math.MaxInt64
		}
	}
	if sub.clock >= clockProcess && h.now(sub.clock) < sub.deadline {
		sub.error = errnoNotsup // it stands while the guest waits
	}
}

func (h *Host) subscribeDescriptor(sub *subscription, fd uint32, wanted rights) {
	d, e := h.table.get(uint64(fd), wanted)
	if e != success {
		sub.error = e
		return
	}
	sub.fd, sub.kind = d.fd, d.kind
	// "This event always triggers for regular files."
	sub.done = d.kind == kindFile || d.kind == kindDirectory || d.kind == kindBlock
}

func pollEvents(event byte) int16 {
	if event == eventWrite {
		return unix.POLLOUT
	}
	return unix.POLLIN | unix.POLLRDHUP
}

// wait sleeps until something is done, and returns how much.
func (h *Host) wait(subscriptions []subscription, polls []unix.PollFd) (done uint32, e errno) {
	for {
		timeout := h.settle(subscriptions, &done)
		var limit *unix.Timespec
		if done > 0 {
			timeout = 0
		}
		if timeout >= 0 {
			h.poll.timeout = unix.NsecToTimespec(timeout)
			limit = &h.poll.timeout
		}
		if done > 0 && len(polls) == 0 {
			return done, success
		}
		_, _, no := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(polls))), uintptr(len(polls)),
			uintptr(unsafe.Pointer(limit)), 0, 0, 0)
		if no != 0 && no != unix.EINTR {
			return 0, fromLinux(no)
		}
		if no == 0 {
			for i := range subscriptions {
				sub := &subscriptions[i]
				sub.done = sub.done || sub.polled != nil && sub.polled.Revents != 0
			}
			if h.settle(subscriptions, &done); done > 0 {
				return done, success
			}
		}
	}
}

// settle finds the clocks whose time has come. It counts what is done, and returns
// how long, in nanoseconds, the next clock takes; -1 is for ever.
func (h *Host) settle(subscriptions []subscription, done *uint32) (next int64) {
	next, *done = -1, 0
	for i := range subscriptions {
		sub := &subscriptions[i]
		if !sub.done && sub.event == eventClock {
			left := sub.deadline - h.now(sub.clock)
			if sub.done = left <= 0; !sub.done {
				if sub.clock == clockRealtime {
					left = min(left, wallClockStep)
				}
				if next < 0 || left < next {
					next = left
				}
			}
		}
		if sub.done {
			*done++
		}
	}
	return next
}

// putEvent stores the event of a subscription.
func (h *Host) putEvent(out []byte, sub *subscription) {
	clear(out[:eventSize])
	little.PutUint64(out, sub.userdata)
	little.PutUint16(out[8:], uint16(sub.error))
	out[10] = sub.event
	if sub.error != success || sub.event == eventClock {
		return
	}
	if sub.event == eventRead {
		little.PutUint64(out[16:], h.readableBytes(sub))
	}
	if sub.polled != nil {
		if sub.polled.Revents&unix.POLLNVAL != 0 {
			little.PutUint16(out[8:], uint16(errnoBadf))
		}
		if sub.polled.Revents&(unix.POLLHUP|unix.POLLRDHUP|unix.POLLERR) != 0 {
			little.PutUint16(out[24:], eventHangup)
		}
	}
}

// readableBytes is how much there is to read now: of a file, what is behind the
// offset.
func (h *Host) readableBytes(sub *subscription) uint64 {
	if sub.kind != kindFile {
		return h.unreadBytes(sub.fd)
	}
	at, _, e := unix.Syscall(unix.SYS_LSEEK, uintptr(sub.fd), 0, unix.SEEK_CUR)
	if e != 0 || h.fstat(sub.fd) != success || h.stat.Size < int64(at) {
		return 0
	}
	return uint64(h.stat.Size) - uint64(at)
}
