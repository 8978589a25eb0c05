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
	// Without O_NONBLOCK, a FIFO in an image would hold the container up for ever.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
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
		return nil, fmt.Errorf("is not a regular file but %s", info.Mode().Type())
	case info.Size() > maxModule:
		return nil, fmt.Errorf("%d bytes are more than the %d that a module may have", info.Size(), maxModule)
	}
	binary := make([]byte, info.Size())
	if n, err := io.ReadFull(file, binary); err != nil {
		return nil, fmt.Errorf("only %d of its %d bytes could be read: %w", n, len(binary), err)
	}
	return binary, nil
}
