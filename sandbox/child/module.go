package child

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	"golang.org/x/sys/unix"
)

// maxModule bounds a module's file, in bytes: what JavaScript engines allow
// too (WebAssembly JavaScript Interface, "Implementation-defined limits").
const maxModule = 1 << 30

// readModule reads the first of the module's places that exists. The process
// must already be in the container's root file system.
func readModule(module wire.Module) (path string, binary []byte, err error) {
	for _, path := range module.Paths {
		binary, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("module %s: %w", path, err)
		}
		return path, binary, nil
	}
	// Docker knows a missing program by the kernel's words, and exits with 127 then.
	return "", nil, fmt.Errorf("module %s: no such file or directory in the container (looked for %s)",
		module.Args[0], strings.Join(module.Paths, ", "))
}

func readFile(path string) ([]byte, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		// Without O_NONBLOCK, a FIFO in an image would hold the container up for ever.
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		// Links such as /proc/self/exe and /proc/1/root lead out of the container
		// whoever may follow them, as this process still may.
		Resolve: unix.RESOLVE_NO_MAGICLINKS,
	})
	switch err {
	case nil:
	case unix.ELOOP:
		return nil, errors.New("leads through too many symbolic links, or through one of procfs to something that is not a file of the container")
	case unix.ENXIO:
		return nil, errors.New("is not a regular file but a socket or a device")
	default:
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errors.New("is a directory; process.args[0] must name a file that holds a Wasm module")
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("is not a regular file but %s", kind(info.Mode()))
	case info.Size() > maxModule:
		return nil, fmt.Errorf("%d bytes are more than the %d that a module may have", info.Size(), maxModule)
	}
	binary := make([]byte, info.Size())
	if n, err := io.ReadFull(file, binary); err != nil {
		return nil, fmt.Errorf("only %d of its %d bytes could be read: %w", n, len(binary), err)
	}
	return binary, nil
}

// kind says what a file is that is neither regular nor a directory.
func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeNamedPipe:
		return "a FIFO"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return "a device"
	}
	return mode.Type().String()
}
