package child

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	"golang.org/x/sys/unix"
)

// maxModule bounds a module's file, in bytes: what JavaScript engines allow
// too (WebAssembly JavaScript Interface, "Implementation-defined limits").
const maxModule = 1 << 30

// fetch has the parent give the artifact of the module. The process must already
// be in the container's root file system. What it holds is the caller's.
func fetch(control *os.File, module wire.Module) (name string, artifact *os.File, offset int64, err error) {
	name = module.Name
	var file *os.File
	if len(module.Paths) > 0 {
		if name, file, err = find(module); err != nil {
			return "", nil, 0, err
		}
		defer file.Close()
	}
	if err := wire.SendFile(control, wire.Report{Path: name, Settings: engine.Settings()}, file); err != nil {
		return "", nil, 0, err
	}
	var code wire.Code
	if artifact, err = wire.ReceiveFile(control, &code); err == nil && code.Hash && file != nil {
		var d string
		if d, err = sum(file); err != nil {
			return "", nil, 0, fmt.Errorf("module %s: %w", name, err)
		}
		if err = wire.Send(control, wire.Digest{Digest: d}); err == nil {
			artifact, err = wire.ReceiveFile(control, &code)
		}
	}
	if err == nil && artifact == nil {
		err = errors.New("no artifact came")
	}
	return name, artifact, code.Offset, err
}

// find opens the first of the module's places that exists.
func find(module wire.Module) (path string, file *os.File, err error) {
	for _, path := range module.Paths {
		file, err := open(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("module %s: %w", path, err)
		}
		return path, file, nil
	}
	// Docker knows a missing program by the kernel's words, and exits with 127 then.
	return "", nil, fmt.Errorf("module %s: no such file or directory in the container (looked for %s)",
		module.Args[0], strings.Join(module.Paths, ", "))
}

func open(path string) (*os.File, error) {
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
	if _, err := size(file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// size returns the size of a file that can be a module.
func size(file *os.File) (int64, error) {
	info, err := file.Stat()
	switch {
	case err != nil:
		return 0, err
	case info.IsDir():
		return 0, errors.New("is a directory; process.args[0] must name a file that holds a Wasm module")
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("is not a regular file but %s", kind(info.Mode()))
	case info.Size() > maxModule:
		return 0, fmt.Errorf("%d bytes are more than the %d that a module may have", info.Size(), maxModule)
	}
	return info.Size(), nil
}

// sum returns the digest of a module's file.
func sum(file *os.File) (string, error) {
	n, err := size(file)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(file, 0, n)); err != nil {
		return "", err
	}
	return digestOf(hash.Sum(nil)), nil
}

// digestOf writes a SHA-256 digest as image manifests do.
func digestOf(sum []byte) string { return fmt.Sprintf("sha256:%x", sum) }

// read reads a module's file from its beginning.
func read(file *os.File) ([]byte, error) {
	n, err := size(file)
	if err != nil {
		return nil, err
	}
	binary := make([]byte, n)
	if n, err := io.ReadFull(io.NewSectionReader(file, 0, n), binary); err != nil {
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
