package escape

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const writeAndExecute = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC

var memory = []Attempt{
	{Name: "memory to write and execute", Gain: "write code in place and run it", try: attempt(func() error {
		return mapping(-1, writeAndExecute, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	})},
	{Name: "mprotect to write and execute", Gain: "the same, on memory that is there", try: attempt(func() error {
		page := uintptr(os.Getpagesize())
		p, err := unix.MmapPtr(-1, 0, nil, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		defer unix.MunmapPtr(p, page)
		return unix.Mprotect(unsafe.Slice((*byte)(p), page), writeAndExecute)
	})},
	{Name: "a file of its own to execute", Gain: "write code to a file and run it from there", try: own(func(path string) error {
		f, err := opened(path, unix.O_RDWR)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteString("code"); err != nil {
			return err
		}
		return mapping(int(f.Fd()), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	})},
	{Name: "shared memory", Gain: "have one memory at two places, to write and to execute", try: attempt(func() error {
		return mapping(-1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	})},
	{Name: "memory to be merged (KSM)", Gain: "learn by timing what other containers have in memory", try: attempt(func() error {
		return began(call(unix.SYS_MADVISE, 0, 0, unix.MADV_MERGEABLE), unix.EINVAL)
	})},
	{Name: "memory on a chosen node", Gain: "the calls of several flaws of the kernel's", try: attempt(func() error {
		return began(call(unix.SYS_MBIND, 0, 0, 0, 0, 0, 0), unix.EINVAL)
	})},
}

func mapping(fd, protection, flags int) error {
	page := uintptr(os.Getpagesize())
	p, err := unix.MmapPtr(fd, 0, nil, page, protection, flags)
	if err == nil {
		unix.MunmapPtr(p, page)
	}
	return err
}
