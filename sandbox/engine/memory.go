package engine

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"unsafe"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

const pageSize = 64 << 10

// allocator gives guests their linear memory. It reserves the whole range that
// a memory may ever have, without access, and opens it as the memory grows: no
// growth copies anything, the address stays (which shared memories demand),
// nothing is committed that the guest has not asked for, and the Go heap and
// its collector have no part in it.
type allocator struct {
	// limit bounds what all memories of the guest have together, in bytes.
	limit uint64
	used  uint64
	// image is the first content of the guest's one memory, in the file.
	image []extent
	file  *os.File
}

var _ experimental.MemoryAllocator = (*allocator)(nil)

// Allocate makes a memory of size bytes that can grow up to max, or as far as
// there is address space where that is limited. The interface has no error: it
// panics with one where there is no room for size.
func (a *allocator) Allocate(size, max uint64) experimental.LinearMemory {
	m := &linearMemory{allocator: a}
	if err := m.reserve(size, min(max, a.limit)); err != nil {
		panic(fmt.Errorf("no memory of %s for the guest: %w; is there a limit on address space (process.rlimits, RLIMIT_AS)?",
			mebibytes(size), err))
	}
	if m.Reallocate(size) == nil {
		panic(fmt.Errorf("no memory of %s for the guest", mebibytes(size)))
	}
	if err := m.mapImage(); err != nil {
		panic(fmt.Errorf("the guest's first memory: %w", err))
	}
	return m
}

// mapImage maps the image, whose pages are shared by all guests of the module
// until they write to them.
func (m *linearMemory) mapImage() error {
	for _, e := range m.allocator.image {
		if e.at+uint64(len(e.bytes)) > m.size {
			return errors.New("its image is larger than it is")
		}
		_, _, errno := unix.Syscall6(unix.SYS_MMAP, uintptr(unsafe.Pointer(&m.reserved[e.at])), uintptr(len(e.bytes)),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE,
			m.allocator.file.Fd(), uintptr(e.offset))
		if errno != 0 {
			return errno
		}
	}
	return nil
}

// linearMemory is one memory; the first size bytes of what is reserved are
// open.
type linearMemory struct {
	allocator *allocator
	reserved  []byte
	size      uint64
}

func (m *linearMemory) reserve(least, most uint64) error {
	for {
		if most == 0 {
			return nil
		}
		reserved, err := unix.Mmap(-1, 0, int(most), unix.PROT_NONE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err == nil {
			m.reserved = reserved
			return nil
		}
		if most <= least {
			return err
		}
		most = max(least, most/2&^(pageSize-1))
	}
}

// Reallocate grows the memory; nil where it cannot, which the guest sees as a
// failed memory.grow. A memory never shrinks.
func (m *linearMemory) Reallocate(size uint64) []byte {
	more := size - m.size
	if size > uint64(len(m.reserved)) || more > m.allocator.limit-m.allocator.used {
		return nil
	}
	if more > 0 {
		if unix.Mprotect(m.reserved[m.size:size], unix.PROT_READ|unix.PROT_WRITE) != nil {
			return nil
		}
		m.size = size
		m.allocator.used += more
	}
	if size == 0 {
		return []byte{}
	}
	return m.reserved[:size:size]
}

func (m *linearMemory) Free() {
	if m.reserved != nil {
		_ = unix.Munmap(m.reserved)
	}
	m.allocator.used -= m.size
	m.reserved, m.size = nil, 0
}

// share is how much of the container's memory limit is left for the guest, in
// bytes, once the module is compiled: all that the process itself has and will
// want is taken off, so that memory.grow fails before the kernel's out-of-memory
// killer comes. A guest without a limit has all that 32 bits can address.
//
// What is taken off was found by running guests at their limit in real cgroups.
// It is not read from /proc, which a container need not have. A Go collector
// that lets the heap double is allowed for; a guest that recurses for ever is
// not: its stack, up to 400 MB of Go heap, is the cgroup's to bound.
//
// code is the size in bytes of the machine code that is the process's alone.
func share(limit int64, code int) uint64 {
	const (
		// slack is for the smallest heap at which Go collects (4 MiB), thread
		// stacks and what the kernel charges for the process.
		slack = 6 << 20
		// pageTables is the part of the limit that page tables take at most.
		pageTables = 256
	)
	if limit <= 0 {
		return math.MaxUint32 + 1
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	taken := stats.Sys - stats.HeapReleased + stats.HeapAlloc +
		uint64(code) + slack + uint64(limit)/pageTables
	return uint64(max(0, limit-int64(taken))) &^ (pageSize - 1)
}

// fits says whether the memories that a module starts with are within its share.
func (s *shape) fits(share uint64, limit int64) error {
	var least uint64
	for _, m := range s.memories {
		least += m.min * pageSize
	}
	if least <= share {
		return nil
	}
	return fmt.Errorf("wants to start with %s of memory; of the container's limit of %s, %s are left for it: raise the limit",
		mebibytes(least), mebibytes(uint64(limit)), mebibytes(share))
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20)) }
