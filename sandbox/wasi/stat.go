package wasi

import (
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The specification's fdflags.
const (
	flagAppend = 1 << iota
	flagDsync
	flagNonblock
	flagRsync
	flagSync

	allFlags = 1<<iota - 1
)

// The specification's fstflags.
const (
	setAtime = 1 << iota
	setAtimeNow
	setMtime
	setMtimeNow

	allTimes = 1<<iota - 1
)

// fstat fills h.stat.
func (h *Host) fstat(fd int) errno {
	_, _, e := unix.Syscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(&h.stat)), 0)
	return fromLinux(e)
}

// fdFdstatGet is fd_fdstat_get(fd) -> fdstat.
func (h *Host) fdFdstatGet(s []uint64) errno {
	d, e := h.table.get(s[0], 0)
	if e != success {
		return e
	}
	out, e := h.view(s[1], 24)
	if e != success {
		return e
	}
	flags, e := d.flags()
	if e != success {
		return e
	}
	clear(out)
	out[0] = d.kind.filetype()
	little.PutUint16(out[2:], fdflags(flags))
	little.PutUint64(out[8:], uint64(d.base))
	little.PutUint64(out[16:], uint64(d.inheriting))
	return success
}

// flags are the kernel's of the open file.
func (d *descriptor) flags() (uintptr, errno) {
	flags, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(d.fd), unix.F_GETFL, 0)
	return flags, fromLinux(e)
}

// fdflags are the specification's for the kernel's flags. Linux makes rsync of
// sync.
func fdflags(flags uintptr) (f uint16) {
	if flags&unix.O_APPEND != 0 {
		f |= flagAppend
	}
	if flags&unix.O_NONBLOCK != 0 {
		f |= flagNonblock
	}
	switch flags & unix.O_SYNC {
	case unix.O_SYNC:
		f |= flagSync
	case unix.O_DSYNC:
		f |= flagDsync
	}
	return f
}

// openFlags is the reverse of fdflags.
func openFlags(f uint64) (flags uint64) {
	if f&flagAppend != 0 {
		flags |= unix.O_APPEND
	}
	if f&flagNonblock != 0 {
		flags |= unix.O_NONBLOCK
	}
	if f&flagDsync != 0 {
		flags |= unix.O_DSYNC
	}
	if f&(flagSync|flagRsync) != 0 {
		flags |= unix.O_SYNC
	}
	return flags
}

// fdFdstatSetFlags is fd_fdstat_set_flags(fd, flags). Linux cannot make an open
// file a synchronous one.
func (h *Host) fdFdstatSetFlags(s []uint64) errno {
	d, e := h.table.get(s[0], rightSetFlags)
	if e != success {
		return e
	}
	wanted := uint64(uint32(s[1]))
	if wanted&^allFlags != 0 {
		return errnoInval
	}
	have, e := d.flags()
	if e != success {
		return e
	}
	if flags := openFlags(wanted) & unix.O_SYNC; flags&^uint64(have) != 0 {
		return errnoNotsup
	}
	const changed = unix.O_APPEND | unix.O_NONBLOCK
	flags := have&^changed | uintptr(openFlags(wanted)&changed)
	_, _, no := unix.Syscall(unix.SYS_FCNTL, uintptr(d.fd), unix.F_SETFL, flags)
	return fromLinux(no)
}

// fdFdstatSetRights is fd_fdstat_set_rights(fd, base, inheriting). Rights can be
// given up and not be had back.
func (h *Host) fdFdstatSetRights(s []uint64) errno {
	d, e := h.table.get(s[0], 0)
	if e != success {
		return e
	}
	base, inheriting := rights(s[1]), rights(s[2])
	if !d.base.has(base) || !d.inheriting.has(inheriting) {
		return errnoNotcapable
	}
	d.base, d.inheriting = base, inheriting
	return success
}

// fdFilestatGet is fd_filestat_get(fd) -> filestat.
func (h *Host) fdFilestatGet(s []uint64) errno { return h.fdFilestat(s, putFilestat) }

// fdFilestatGetUnstable has a shorter filestat.
func (h *Host) fdFilestatGetUnstable(s []uint64) errno { return h.fdFilestat(s, putFilestatUnstable) }

func (h *Host) fdFilestat(s []uint64, put filestatPutter) errno {
	d, e := h.table.get(s[0], rightFilestat)
	if e != success {
		return e
	}
	if e := h.fstat(d.fd); e != success {
		return e
	}
	return put(h, s[1])
}

// A filestatPutter stores h.stat for the guest.
type filestatPutter func(h *Host, at uint64) errno

func putFilestat(h *Host, at uint64) errno {
	out, e := h.view(at, 64)
	if e != success {
		return e
	}
	clear(out)
	h.putFile(out)
	little.PutUint64(out[24:], uint64(h.stat.Nlink))
	h.putTimes(out[32:])
	return success
}

// putFilestatUnstable stores a linkcount of 32 bits, and what follows it earlier.
func putFilestatUnstable(h *Host, at uint64) errno {
	out, e := h.view(at, 56)
	if e != success {
		return e
	}
	clear(out)
	h.putFile(out)
	little.PutUint32(out[20:], uint32(min(uint64(h.stat.Nlink), math.MaxUint32)))
	h.putTimes(out[24:])
	return success
}

func (h *Host) putFile(out []byte) {
	little.PutUint64(out, uint64(h.stat.Dev))
	little.PutUint64(out[8:], h.stat.Ino)
	out[16] = kindOf(&h.stat).filetype()
}

func (h *Host) putTimes(out []byte) {
	little.PutUint64(out, uint64(h.stat.Size))
	little.PutUint64(out[8:], uint64(h.stat.Atim.Nano()))
	little.PutUint64(out[16:], uint64(h.stat.Mtim.Nano()))
	little.PutUint64(out[24:], uint64(h.stat.Ctim.Nano()))
}

// fdFilestatSetTimes is fd_filestat_set_times(fd, atim, mtim, fst_flags).
func (h *Host) fdFilestatSetTimes(s []uint64) errno {
	d, e := h.table.get(s[0], rightSetTimes)
	if e != success {
		return e
	}
	return h.setTimes(d.fd, s[1], s[2], s[3])
}

// setTimes sets times of what the descriptor is of, be it a path alone.
func (h *Host) setTimes(fd int, atime, mtime, flags uint64) errno {
	flags = uint64(uint32(flags))
	if flags&^allTimes != 0 || flags&(setAtime|setAtimeNow) == setAtime|setAtimeNow ||
		flags&(setMtime|setMtimeNow) == setMtime|setMtimeNow {
		return errnoInval
	}
	h.times[0] = timeToSet(atime, flags&setAtime != 0, flags&setAtimeNow != 0)
	h.times[1] = timeToSet(mtime, flags&setMtime != 0, flags&setMtimeNow != 0)
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&h.times)), unix.AT_EMPTY_PATH, 0, 0)
	return fromLinux(e)
}

func timeToSet(time uint64, given, now bool) unix.Timespec {
	switch {
	case given:
		return unix.Timespec{Sec: int64(time / 1e9), Nsec: int64(time % 1e9)}
	case now:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	}
	return unix.Timespec{Nsec: unix.UTIME_OMIT}
}
