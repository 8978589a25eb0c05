// Package escape is an attacker: native code that has got out of WebAssembly and
// now tries to get out of the container, in every way that has ever worked
// somewhere. None of its attempts does harm where it succeeds.
package escape

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Attempt is one way out, or one step on a way.
type Attempt struct {
	Name string
	Gain string // what an attacker has from it
	// Deadly says that a kernel which refuses it ends the process.
	Deadly bool
	// Vague says that it may fail where nothing refuses it: because a mount
	// namespace alone stands against it, or a kernel can be built without it.
	Vague bool
	try   func(world) error
}

// world is what the attacker knows about where it is.
type world struct {
	secret string // the path of a file of the host's
}

// Attempts are all of them.
var Attempts = slices.Concat(processes, files, machine, memory, network)

// Outcomes of an attempt.
const (
	LetThrough = "let through" // the kernel did it, or objected to arguments alone
	Refused    = "refused"
)

// Run makes the named attempts, or all that are not deadly, one after the other.
// For each it writes a line: the name, the outcome and the kernel's error, with
// tabs between them. Any outcome but the two is a fault of the attempt.
func Run(w io.Writer, secret string, names ...string) {
	for _, a := range Attempts {
		if len(names) == 0 && a.Deadly || len(names) > 0 && !slices.Contains(names, a.Name) {
			continue
		}
		err := a.try(world{secret})
		fmt.Fprintf(w, "%s\t%s\t%v\n", a.Name, outcome(err), err)
	}
}

// Outcomes reads what Run has written: the outcome of each attempt by its name.
func Outcomes(text string) (map[string]string, error) {
	outcomes := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 || fields[1] != LetThrough && fields[1] != Refused {
			return nil, fmt.Errorf("an attempt says %q", line)
		}
		outcomes[fields[0]] = fields[1]
	}
	return outcomes, nil
}

func outcome(err error) string {
	if err == nil {
		return LetThrough
	}
	for _, refusal := range []error{unix.EPERM, unix.EACCES, unix.EROFS, unix.ENOSYS, errHidden} {
		if errors.Is(err, refusal) {
			return Refused
		}
	}
	return "failed"
}

// errHidden says that what is attacked is not there.
var errHidden = errors.New("hidden")

// began is for a call with arguments that the kernel objects to once it has
// allowed the call itself: such an objection is success.
func began(err error, objections ...unix.Errno) error {
	for _, objection := range objections {
		if err == objection {
			return nil
		}
	}
	return err
}

// hidden is for a thing that a jail need not show.
func hidden(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOTDIR) {
		return errHidden
	}
	return err
}

// call makes a system call.
func call(number uintptr, args ...uintptr) error {
	_, err := callFor(number, args...)
	return err
}

func callFor(number uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	result, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return 0, errno
	}
	return result, nil
}

// descriptor is call for one that returns a descriptor.
func descriptor(number uintptr, args ...uintptr) error {
	fd, err := callFor(number, args...)
	if err == nil {
		unix.Close(int(fd))
	}
	return err
}

// none is the descriptor that no process has.
const none = ^uintptr(0)

// opened opens a file, by the one call that a sandbox has for it.
func opened(path string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY)}
	if flags&unix.O_CREAT != 0 {
		how.Mode = 0o700
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// open opens a file and does nothing to it.
func open(path string, flags int) error {
	f, err := opened(path, flags)
	if err == nil {
		f.Close()
	}
	return err
}

// write opens a file of the kernel's for writing.
func write(path string) func(world) error {
	return func(world) error { return hidden(open(path, unix.O_WRONLY)) }
}

// attempt is try for what is the same everywhere.
func attempt(try func() error) func(world) error { return func(world) error { return try() } }
