package wasi

import (
	"bytes"

	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sys/unix"
)

// argsSizesGet is args_sizes_get() -> (size, size).
func (h *Host) argsSizesGet(s []uint64) errno { return h.sizes(s, h.args, h.argCount) }

// argsGet is args_get(argv, argv_buf).
func (h *Host) argsGet(s []uint64) errno { return h.texts(s, h.args, h.argCount) }

// environSizesGet is environ_sizes_get() -> (size, size).
func (h *Host) environSizesGet(s []uint64) errno { return h.sizes(s, h.env, h.envCount) }

// environGet is environ_get(environ, environ_buf).
func (h *Host) environGet(s []uint64) errno { return h.texts(s, h.env, h.envCount) }

func (h *Host) sizes(s []uint64, texts []byte, count uint32) errno {
	n, e := h.view(s[0], 4)
	if e != success {
		return e
	}
	size, e := h.view(s[1], 4)
	if e != success {
		return e
	}
	little.PutUint32(n, count)
	little.PutUint32(size, uint32(len(texts)))
	return success
}

func (h *Host) texts(s []uint64, texts []byte, count uint32) errno {
	pointers, e := h.view(s[0], 4*uint64(count))
	if e != success {
		return e
	}
	out, e := h.view(s[1], uint64(len(texts)))
	if e != success {
		return e
	}
	copy(out, texts)
	at := uint32(s[1])
	for ; len(pointers) > 0; pointers = pointers[4:] {
		little.PutUint32(pointers, at)
		size := bytes.IndexByte(texts, 0) + 1
		texts, at = texts[size:], at+uint32(size)
	}
	return success
}

// procExit is proc_exit(rval). wazero unwinds the guest.
func (h *Host) procExit(s []uint64) errno { panic(sys.NewExitError(uint32(s[0]))) }

// The specification's signals that matter here. Up to the first they have Linux's
// numbers; from there on Linux has one that WASI has not.
const (
	signalChld = 16
	signalCont = 17
	signalStop = 18
	signalTtou = 21
	signalUrg  = 22
	signalWinc = 27
	signals    = 31
)

// procRaise is proc_raise(sig). A guest has no handlers, so the signal does what it
// does by default: nothing, or end the guest with 128 + Linux's number. A guest
// cannot stop itself: NOTSUP.
func (h *Host) procRaise(s []uint64) errno {
	switch signal := uint32(s[0]); {
	case signal >= signals:
		return errnoInval
	case signal == 0, signal == signalChld, signal == signalCont, signal == signalUrg, signal == signalWinc:
		return success
	case signal >= signalStop && signal <= signalTtou:
		return errnoNotsup
	case signal > signalChld:
		panic(sys.NewExitError(128 + signal + 1))
	default:
		panic(sys.NewExitError(128 + signal))
	}
}

// schedYield is sched_yield().
func (h *Host) schedYield([]uint64) errno {
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	return success
}
