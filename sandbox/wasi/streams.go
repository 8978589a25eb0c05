package wasi

import (
	"bytes"
	"path"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Programs open their streams by name: /dev/stdout is a link to /proc/self/fd/1,
// which is one that is not followed. So descriptors are opened by these names here:
// the new one is the guest's own of that number once more, with no right that it has
// not, and with its offset.

// named returns the descriptor that a path from a preopened directory stands for, of
// which the kernel has said that its links are not followed; nil where it is another.
func (h *Host) named(d *descriptor, name []byte) *descriptor {
	if d.preopen != "/" {
		return nil
	}
	const most = 40 // Linux's MAXSYMLINKS
	at := string(name[:len(name)-1])
	for range most {
		// No link has been passed that would make ".." mean something else: of those
		// that have, each is the last of its path.
		at = path.Clean("/" + at)
		for _, folder := range []string{"/dev/fd/", "/proc/self/fd/"} {
			if number, ok := strings.CutPrefix(at, folder); ok {
				fd, err := strconv.ParseUint(number, 10, 31)
				if err != nil {
					return nil
				}
				if d, e := h.table.get(fd, 0); e == success && d.kind != kindDirectory {
					return d
				}
				return nil
			}
		}
		entry, e := h.entry(d, append([]byte(at[1:]), 0))
		if e != success {
			return nil
		}
		var link [pathSize]byte
		n, _, no := unix.Syscall6(unix.SYS_READLINKAT, uintptr(entry.dir), uintptr(unsafe.Pointer(&entry.name[0])),
			uintptr(unsafe.Pointer(&link)), pathSize, 0, 0)
		entry.close()
		if no != 0 {
			return nil
		}
		if at = path.Dir(at) + "/" + string(link[:n]); bytes.HasPrefix(link[:n], []byte("/")) {
			at = string(link[:n])
		}
	}
	return nil
}

// again opens a descriptor once more.
func (h *Host) again(d *descriptor, base rights) (descriptor, errno) {
	const access = rightRead | rightWrite
	if base&access&^d.base != 0 {
		return descriptor{}, errnoAcces
	}
	return descriptor{kind: d.kind, fd: d.fd, listing: -1, base: base & d.base}, success
}
