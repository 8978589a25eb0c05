package jail

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// errKernel replaces ENOSYS from the system calls below.
var errKernel = errors.New("the kernel is older than Linux 5.12, which is needed")

func kernelError(err error) error {
	if err == unix.ENOSYS {
		return errKernel
	}
	return err
}

// cloneMount returns a detached copy of the mount that fd is in, with fd as its
// root; recursive takes the mounts below fd along. The caller closes it.
func cloneMount(fd int, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	mnt, err := unix.OpenTree(fd, "", flags)
	return mnt, kernelError(err)
}

// OpenReadonly opens a directory of the host in a mount of its own, detached and
// read-only. The caller closes it; what runs from there keeps the mount.
func OpenReadonly(dir string) (*os.File, error) {
	path, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(path)
	mnt, err := cloneMount(path, false)
	if err != nil {
		return nil, fmt.Errorf("a mount of %s: %w", dir, err)
	}
	if err := setAttributes(mnt, mountFlags["ro"], false); err != nil {
		unix.Close(mnt)
		return nil, fmt.Errorf("a read-only mount of %s: %w", dir, err)
	}
	return os.NewFile(uintptr(mnt), dir), nil
}

// newMount returns a detached mount of a new instance of a file system. Its
// parameters are "name" or "name=value". The caller closes it.
func newMount(fstype, source string, parameters []string, attrs uint64) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	switch {
	case err == unix.ENODEV:
		return -1, fmt.Errorf("the kernel has no file system %q", fstype)
	case err != nil:
		return -1, kernelError(err)
	}
	defer unix.Close(fs)
	if source != "" {
		parameters = append([]string{"source=" + source}, parameters...)
	}
	for _, parameter := range parameters {
		name, value, hasValue := strings.Cut(parameter, "=")
		if hasValue {
			err = unix.FsconfigSetString(fs, name, value)
		} else {
			err = unix.FsconfigSetFlag(fs, name)
		}
		if err != nil {
			return -1, fmt.Errorf("option %s: %w", parameter, explain(fs, err))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, explain(fs, err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, int(attrs))
	if err != nil {
		return -1, explain(fs, err)
	}
	return mnt, nil
}

// explain adds what the kernel wrote into the log of a file-system context:
// lines of a level letter, a space and a sentence.
func explain(fs int, err error) error {
	var text []string
	line := make([]byte, 1024)
	for {
		n, readErr := unix.Read(fs, line)
		if readErr != nil || n <= 0 {
			break
		}
		if message := strings.TrimSpace(string(line[:n])); len(message) > 2 {
			text = append(text, message[2:])
		}
	}
	if len(text) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(text, "; "))
}

// setAttributes changes the flags of a mount, and of all mounts below it if
// recursive.
func setAttributes(mnt int, a attributes, recursive bool) error {
	if a.mask == 0 {
		return nil
	}
	return mountSetattr(mnt, unix.MountAttr{Attr_set: a.set, Attr_clr: a.mask &^ a.set}, recursive)
}

func setPropagation(mnt int, p propagation) error {
	return mountSetattr(mnt, unix.MountAttr{Propagation: p.kind}, p.recursive)
}

func mountSetattr(mnt int, attr unix.MountAttr, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	// The kernel takes a changed access-time mode only with the whole field
	// cleared, because zero is one of the modes.
	if (attr.Attr_set|attr.Attr_clr)&unix.MOUNT_ATTR__ATIME != 0 {
		attr.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	return kernelError(unix.MountSetattr(mnt, "", flags, &attr))
}

// mountID returns the kernel's number of the mount that fd is in.
func mountID(fd int) (uint64, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st)
	return st.Mnt_id, err
}

// attach puts a detached mount on the file or directory that target stands for.
// The descriptor mnt is then the root of the attached mount.
func attach(mnt, target int) error {
	return unix.MoveMount(mnt, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}
