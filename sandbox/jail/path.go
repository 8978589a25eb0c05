package jail

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// maxLinks is how many dangling symbolic links makeDirs follows; path_resolution(7)
// has the same number.
const maxLinks = 40

// openIn returns an O_PATH descriptor of what path names for a process whose
// root directory is root: links and ".." are followed and cannot lead out.
// The caller closes it.
func openIn(root int, path string, flags, resolve uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	for {
		fd, err := unix.Openat2(root, path, &how)
		// EAGAIN: something was renamed while the kernel walked over a "..".
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, kernelError(err)
		}
	}
}

// makeDirs is openIn for a directory; it makes those that are missing, with
// mode 0755 less the umask. A dangling symbolic link on the way is filled at
// its target, because images have links such as /var/run -> /run.
func makeDirs(root int, dir string) (int, error) {
	return makeDirsLinked(root, path.Clean("/"+dir), maxLinks)
}

func makeDirsLinked(root int, dir string, links int) (int, error) {
	fd, err := openIn(root, dir, unix.O_DIRECTORY, 0)
	if err != unix.ENOENT || dir == "/" {
		return fd, err
	}
	parentDir, name := path.Split(dir)
	parent, err := makeDirsLinked(root, path.Clean(parentDir), links)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	err = unix.Mkdirat(parent, name, 0o755)
	if err == unix.EEXIST {
		// What exists and yet is not there is a link to nothing, or was made meanwhile.
		target := make([]byte, unix.PathMax)
		if n, linkErr := unix.Readlinkat(parent, name, target); linkErr == nil {
			if links == 0 {
				return -1, unix.ELOOP
			}
			to := string(target[:n])
			if !path.IsAbs(to) {
				to = path.Join(parentDir, to)
			}
			return makeDirsLinked(root, path.Clean("/"+to), links-1)
		}
	} else if err != nil {
		return -1, fmt.Errorf("creating directory %s: %w", dir, err)
	}
	return openIn(root, dir, unix.O_DIRECTORY, 0)
}

// mountpoint returns an O_PATH descriptor of the directory or file at where,
// and whether it had to be made. The caller closes it.
func mountpoint(root int, where string, dir bool) (fd int, created bool, err error) {
	fd, err = openIn(root, where, 0, 0)
	switch {
	case err == nil:
		return fd, false, checkKind(fd, dir)
	case err != unix.ENOENT:
		return -1, false, err
	case dir:
		fd, err = makeDirs(root, where)
		return fd, true, err
	}
	parentDir, name := path.Split(path.Clean("/" + where))
	parent, err := makeDirs(root, parentDir)
	if err != nil {
		return -1, false, err
	}
	defer unix.Close(parent)
	file, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_RDONLY, 0o644)
	if err != nil {
		return -1, false, fmt.Errorf("creating the file %s to mount on: %w", where, err)
	}
	unix.Close(file)
	fd, err = openIn(parent, name, unix.O_NOFOLLOW, 0)
	return fd, true, err
}

// checkKind closes fd where it returns an error.
func checkKind(fd int, dir bool) error {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR; err == nil && isDir != dir {
		if isDir {
			err = fmt.Errorf("the destination is a directory and the source is not")
		} else {
			err = fmt.Errorf("the source is a directory and the destination is not")
		}
	}
	if err != nil {
		unix.Close(fd)
	}
	return err
}

// isFilesystem says whether fd is in a file system with that magic number, see statfs(2).
func isFilesystem(fd int, magic int64) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false, err
	}
	return int64(st.Type) == magic, nil
}
