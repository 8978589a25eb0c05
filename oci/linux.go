package oci

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// IsSandbox reports whether a container is the one that holds the namespaces of
// a pod, as CRI and CRI-O mark it. Its image is the administrator's choice.
func IsSandbox(spec *specs.Spec) bool {
	return spec.Annotations["io.kubernetes.cri.container-type"] == "sandbox" ||
		spec.Annotations["io.kubernetes.cri-o.ContainerType"] == "sandbox"
}

// IsLinux reports whether a container's first process is a program of Linux. What
// the image or an annotation calls Wasm never is; otherwise the first bytes tell
// of the first file that there is, in the root file system or in what is bound
// into it. A file that is neither is taken for Wasm, for it is refused there by
// name; one that cannot be found is so only if it is called *.wasm.
//
// rootfs is mounted, and everything in it may be hostile. Only the container's
// process sees all mounts as they will be: links from one into another are not
// followed here, and count as not found.
func (m Module) IsLinux(rootfs string, spec *specs.Spec) bool {
	if m.Declared {
		return false
	}
	for _, place := range m.Paths {
		head, err := firstBytes(locate(rootfs, spec.Mounts, place))
		if err == nil {
			return bytes.HasPrefix(head, []byte("\x7fELF")) || bytes.HasPrefix(head, []byte("#!"))
		}
	}
	return !slices.ContainsFunc(m.Paths, func(p string) bool { return strings.HasSuffix(p, ".wasm") })
}

// locate returns the folder of the host, or the file, that is at the bottom of a
// path of the container, and the rest of the path below it. The former is empty
// where no folder of the host is.
func locate(rootfs string, mounts []specs.Mount, place string) (base, rest string) {
	base, rest = rootfs, place
	longest := 0
	for _, m := range mounts {
		destination := path.Join("/", m.Destination)
		below, ok := strings.CutPrefix(place, destination)
		if !ok || below != "" && below[0] != '/' || len(destination) < longest {
			continue
		}
		longest = len(destination) // of two mounts at one place the later covers the other
		base, rest = "", below
		if m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind") {
			base = m.Source
		}
	}
	return base, rest
}

// firstBytes reads the beginning of a regular file. Nothing else is opened, not
// even for a moment: to open a device can do something.
func firstBytes(base, rest string) ([]byte, error) {
	fd, err := unix.Open(base, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if rest = strings.Trim(rest, "/"); rest != "" {
		dir := fd
		fd, err = unix.Openat2(dir, rest, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		unix.Close(dir)
		if err != nil {
			return nil, err
		}
	}
	found := os.NewFile(uintptr(fd), rest)
	defer found.Close()
	info, err := found.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil // which is no program, and there all the same
	}
	file, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	head := make([]byte, 4)
	n, _ := file.ReadAt(head, 0)
	return head[:n], nil
}
