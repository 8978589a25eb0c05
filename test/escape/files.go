package escape

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Volume is a directory that the container shares with the host. Whoever starts
// the container puts into it what hostile images have: device nodes named disk,
// mem and kmsg, and link, a symbolic link to the secret.
const Volume = "/data"

// up leads to the root directory from wherever it is.
var up = strings.Repeat("../", 30)

// reads tries to read the secret by another path.
func reads(path func(secret string) string) func(world) error {
	return func(w world) error { return hidden(open(path(w.secret), unix.O_RDONLY)) }
}

// own makes a file in the root directory, which is the guest's to do.
func own(use func(path string) error) func(world) error {
	return func(world) error {
		const path = "/escape-file"
		if err := open(path, unix.O_CREAT|unix.O_TRUNC|unix.O_WRONLY); err != nil {
			return err
		}
		defer os.Remove(path)
		return use(path)
	}
}

// node opens a device by a node of the volume's.
func node(name string) func(world) error {
	return func(world) error { return hidden(open(filepath.Join(Volume, name), unix.O_RDONLY)) }
}

var files = []Attempt{
	{Name: "the host's files by ..", Gain: "read any file of the host", Vague: true, try: reads(func(secret string) string { return up + secret })},
	{Name: "… by .. from a volume", Gain: "the same", Vague: true, try: reads(func(secret string) string { return Volume + "/" + up + secret })},
	{Name: "… by a symbolic link in a volume", Gain: "the same", Vague: true, try: reads(func(string) string { return Volume + "/link" })},
	{Name: "… by /proc/1/root", Gain: "the same, by the first process's root directory", Vague: true, try: reads(func(secret string) string { return "/proc/1/root/" + secret })},
	{Name: "… by /proc/self/root/..", Gain: "the same", Vague: true, try: reads(func(secret string) string { return "/proc/self/root/" + up + secret })},
	{Name: "… by /proc/self/cwd/..", Gain: "the same, by a working directory that was left open", Vague: true, try: reads(func(secret string) string { return "/proc/self/cwd/" + up + secret })},
	{Name: "standard input opened for writing", Gain: "more rights on a file of the host's than were given", try: attempt(func() error {
		return hidden(open("/proc/self/fd/0", unix.O_WRONLY))
	})},
	{Name: "/proc/self/exe overwritten", Gain: "replace the runtime's program on the host", Vague: true, try: attempt(func() error {
		err := open("/proc/self/exe", unix.O_WRONLY)
		if err == unix.ETXTBSY {
			return unix.EPERM
		}
		return err
	})},
	{Name: "/proc/self/mem", Gain: "write to memory that is read-only", try: attempt(ownMemory)},
	{Name: "chroot", Gain: "leave it again by a directory that was open before", try: attempt(func() error { return unix.Chroot("/") })},
	{Name: "pivot_root", Gain: "exchange the root directory", try: attempt(func() error {
		return began(unix.PivotRoot("/nowhere", "/nowhere"), unix.ENOENT)
	})},
	{Name: "mount", Gain: "mount the host's disk, or over masked files", try: attempt(func() error {
		return began(unix.Mount("none", "/nowhere", "tmpfs", 0, ""), unix.ENOENT)
	})},
	{Name: "remount", Gain: "write to what is mounted read-only", try: attempt(func() error {
		return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "")
	})},
	{Name: "umount", Gain: "uncover masked files", try: attempt(func() error { return began(unix.Unmount("/nowhere", 0), unix.ENOENT) })},
	{Name: "open_tree", Gain: "copy mounts, without what covers them", try: attempt(func() error {
		return descriptor(unix.SYS_OPEN_TREE, none, address("/"), unix.OPEN_TREE_CLONE)
	})},
	{Name: "move_mount", Gain: "mount, by the newer calls", try: attempt(func() error {
		return began(call(unix.SYS_MOVE_MOUNT, none, address("nowhere"), none, address("nowhere"), 0), unix.EBADF)
	})},
	{Name: "fsopen", Gain: "the same", try: attempt(func() error { return descriptor(unix.SYS_FSOPEN, address("tmpfs"), 0) })},
	{Name: "mount_setattr", Gain: "undo read-only, nosuid and nodev", try: attempt(func() error {
		var attributes unix.MountAttr
		return began(unix.MountSetattr(-1, "nowhere", 0, &attributes), unix.EBADF)
	})},
	{Name: "name_to_handle_at", Gain: "learn the numbers of files", try: attempt(func() error {
		var handle [8]byte
		var mount int32
		return began(call(unix.SYS_NAME_TO_HANDLE_AT, none, address("/"), uintptr(unsafe.Pointer(&handle)), uintptr(unsafe.Pointer(&mount)), 0), unix.EOVERFLOW, unix.EOPNOTSUPP)
	})},
	{Name: "open_by_handle_at", Gain: "open any file of the host by its number", try: attempt(func() error {
		var handle [16]byte
		return began(call(unix.SYS_OPEN_BY_HANDLE_AT, none, uintptr(unsafe.Pointer(&handle)), 0), unix.EBADF, unix.EINVAL)
	})},
	{Name: "mknod of the host's disk", Gain: "read and write the disk below every file system", try: attempt(func() error {
		const path = "/escape-node"
		err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0)))
		if err == nil {
			unix.Unlink(path)
		}
		return err
	})},
	{Name: "the host's disk by a node in a volume", Gain: "the same", Vague: true, try: node("disk")},
	{Name: "/dev/mem by a node in a volume", Gain: "read and write the machine's memory", Vague: true, try: node("mem")},
	{Name: "/dev/kmsg by a node in a volume", Gain: "read the kernel's log, with its addresses", Vague: true, try: node("kmsg")},
	{Name: "a file's mode", Gain: "plant a set-user-id program in a volume", try: own(func(path string) error { return unix.Fchmodat(unix.AT_FDCWD, path, 0o4755, 0) })},
	{Name: "a file's owner", Gain: "plant files of other users", try: own(func(path string) error { return unix.Lchown(path, 12345, 12345) })},
	{Name: "a file's capabilities", Gain: "plant a program with capabilities", try: own(func(path string) error {
		empty := make([]byte, 20) // struct vfs_cap_data of include/uapi/linux/capability.h
		empty[3] = 2
		return unix.Setxattr(path, "security.capability", empty, 0)
	})},
	{Name: "an exchange of two files", Gain: "swap a directory for a link under a process of the host that is looking it up", try: own(func(path string) error {
		return unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	})},
	{Name: "core_pattern", Gain: "have the host's kernel start a program at the next crash", try: write("/proc/sys/kernel/core_pattern")},
	{Name: "modprobe", Gain: "have it start one in place of modprobe", Vague: true, try: write("/proc/sys/kernel/modprobe")},
	{Name: "sysrq-trigger", Gain: "crash the machine", Vague: true, try: write("/proc/sysrq-trigger")},
	{Name: "uevent_helper", Gain: "have the host's kernel start a program", Vague: true, try: write("/sys/kernel/uevent_helper")},
	{Name: "/proc/kcore", Gain: "read the kernel's memory", Vague: true, try: attempt(func() error { return empty("/proc/kcore") })},
	{Name: "/proc/keys", Gain: "see the keys of others", try: attempt(func() error { return empty("/proc/keys") })},
	{Name: "a cgroup's release_agent", Gain: "have the host's kernel start a program", Vague: true, try: attempt(func() error { return writeAny("release_agent") })},
	{Name: "cgroup.procs", Gain: "leave one's limits", try: attempt(func() error { return writeAny("cgroup.procs") })},
	{Name: "a cgroup of its own", Gain: "the same", try: attempt(func() error {
		if err := writeAny("cgroup.clone_children"); err == nil {
			return nil
		}
		return writeAny("cgroup.subtree_control")
	})},
	{Name: "fanotify_init", Gain: "watch a whole file system of the host", try: attempt(func() error { return descriptor(unix.SYS_FANOTIFY_INIT, 0, 0) })},
	{Name: "quotactl", Gain: "lift a file system's quotas", try: attempt(func() error {
		const sync = 0x800001 << 8
		return began(call(unix.SYS_QUOTACTL, sync, address("/nowhere"), 0, 0), unix.ENOENT, unix.ENODEV)
	})},
}

// ownMemory reads a variable by way of procfs.
func ownMemory() error {
	want := []byte("what is in memory")
	f, err := opened("/proc/self/mem", unix.O_RDONLY)
	if err != nil {
		return hidden(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	f.ReadAt(got, int64(uintptr(unsafe.Pointer(&want[0]))))
	if !bytes.Equal(got, want) {
		return errHidden
	}
	return nil
}

// empty looks for content in a file that should be covered.
func empty(path string) error {
	f, err := opened(path, unix.O_RDONLY)
	if err != nil {
		return hidden(err)
	}
	defer f.Close()
	if n, _ := f.Read(make([]byte, 1)); n == 0 {
		return errHidden
	}
	return nil
}

// writeAny opens for writing a file of that name in any group of the host's cgroups.
func writeAny(name string) (err error) {
	const root = "/sys/fs/cgroup"
	paths := []string{filepath.Join(root, name)}
	if f, err := opened(root, unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
		defer f.Close()
		groups, _ := f.Readdirnames(-1)
		for _, group := range groups {
			paths = append(paths, filepath.Join(root, group, name))
		}
	}
	for _, path := range paths {
		if err = hidden(open(path, unix.O_WRONLY)); err == nil {
			break
		}
	}
	return err
}
