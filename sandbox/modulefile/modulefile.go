// Package modulefile finds and reads the files that are modules. They are
// hostile, and so are the links that lead to them: nothing here looks at what
// a module says.
package modulefile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxSize bounds a module, in bytes: what JavaScript engines allow too
// (WebAssembly JavaScript Interface, "Implementation-defined limits").
const MaxSize = 1 << 30

// Find opens the first of a module's places that exists; asked is what messages
// call it that was looked for. The places are absolute, in the root file system
// that root is the top folder of, or in this process's own where root is nil.
// The caller closes the file.
func Find(root *os.File, asked string, places []string) (path string, file *os.File, err error) {
	for _, path := range places {
		file, err := open(root, path)
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
		asked, strings.Join(places, ", "))
}

func open(root *os.File, path string) (*os.File, error) {
	dir, how := unix.AT_FDCWD, unix.OpenHow{
		// Without O_NONBLOCK, a FIFO in an image would hold the container up for ever.
		Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY,
		// Links such as /proc/self/exe and /proc/1/root lead out of the container
		// whoever may follow them, as this process still may.
		Resolve: unix.RESOLVE_NO_MAGICLINKS,
	}
	if root != nil {
		dir, how.Resolve = int(root.Fd()), how.Resolve|unix.RESOLVE_IN_ROOT
	}
	fd, err := unix.Openat2(dir, path, &how)
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
	case info.Size() > MaxSize:
		return 0, fmt.Errorf("%d bytes are more than the %d that a module may have", info.Size(), MaxSize)
	}
	return info.Size(), nil
}

// Sum returns the digest of a module's file.
func Sum(file *os.File) (string, error) {
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

// Read reads a module's file from its beginning, and returns its digest too.
func Read(file *os.File) (module []byte, digest string, err error) {
	n, err := size(file)
	if err != nil {
		return nil, "", err
	}
	module = make([]byte, n)
	if n, err := io.ReadFull(io.NewSectionReader(file, 0, n), module); err != nil {
		return nil, "", fmt.Errorf("only %d of its %d bytes could be read: %w", n, len(module), err)
	}
	// Of the bytes that are returned: the file may change at any time.
	sum := sha256.Sum256(module)
	return module, digestOf(sum[:]), nil
}

// digestOf writes a SHA-256 digest as image manifests do.
func digestOf(sum []byte) string { return fmt.Sprintf("sha256:%x", sum) }

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
