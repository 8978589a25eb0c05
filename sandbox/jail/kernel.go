package jail

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// namespaceFiles are the names below /proc/PID/ns of the namespaces that have
// settings of their own below /proc/sys.
var namespaceFiles = map[specs.LinuxNamespaceType]string{
	specs.IPCNamespace:     "ipc",
	specs.NetworkNamespace: "net",
	specs.UTSNamespace:     "uts",
}

// ipcSysctls are the settings that each ipc namespace has for itself, beside
// fs.mqueue: ipc_namespaces(7).
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
	"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}

// sysctlPath translates the name of a sysctl, as sysctl.d(5) reads it: where a
// slash comes before any dot, slashes separate and dots are part of a name.
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '/' {
		return name
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(name)
}

// sysctlNamespace says which namespace a sysctl belongs to; "" is the host's.
func sysctlNamespace(name string) specs.LinuxNamespaceType {
	dotted := strings.ReplaceAll(sysctlPath(name), "/", ".")
	switch {
	case strings.HasPrefix(dotted, "net."):
		return specs.NetworkNamespace
	case strings.HasPrefix(dotted, "fs.mqueue."), slices.Contains(ipcSysctls, dotted):
		return specs.IPCNamespace
	case dotted == "kernel.domainname":
		return specs.UTSNamespace
	}
	return ""
}

func checkSysctls(s *specs.Spec) error {
	for _, name := range slices.Sorted(maps.Keys(s.Linux.Sysctl)) {
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= unicode.MaxASCII }) {
			return fmt.Errorf("linux.sysctl: %q is not the name of a sysctl", name)
		}
		field := fmt.Sprintf("linux.sysctl[%s]", name)
		for part := range strings.SplitSeq(sysctlPath(name), "/") {
			if part == "" || part == "." || part == ".." {
				return fmt.Errorf("%s: not the name of a sysctl", field)
			}
		}
		if sysctlPath(name) == "kernel/hostname" {
			return fmt.Errorf("%s: use hostname instead", field)
		}
		kind := sysctlNamespace(name)
		if kind == "" {
			return fmt.Errorf("%s: not a sysctl that a container can have for itself; set it on the host", field)
		}
		i := slices.IndexFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
		if i < 0 || isOwn(s.Linux.Namespaces[i]) {
			return fmt.Errorf("%s: needs a linux.namespaces[%s] other than the host's; set it on the host", field, kind)
		}
	}
	return nil
}

// isOwn says whether a namespace given by path is that of this process.
func isOwn(n specs.LinuxNamespace) bool {
	given, err := os.Stat(n.Path)
	if err != nil {
		return false // a new one, or one that cannot be joined
	}
	own, err := os.Stat("/proc/self/ns/" + namespaceFiles[n.Type])
	return err == nil && os.SameFile(given, own)
}

// configureKernel sets what the container's own namespaces have: sysctls, names
// and the loopback device. It uses the host's /proc, which no image can have
// tampered with.
func configureKernel(spec *specs.Spec) error {
	for _, name := range slices.Sorted(maps.Keys(spec.Linux.Sysctl)) {
		if err := writeSysctl(name, spec.Linux.Sysctl[name]); err != nil {
			return fmt.Errorf("linux.sysctl[%s]: %w", name, err)
		}
	}
	if spec.Hostname != "" {
		if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
			return fmt.Errorf("hostname: %q: %w", spec.Hostname, err)
		}
	}
	if spec.Domainname != "" {
		if err := unix.Setdomainname([]byte(spec.Domainname)); err != nil {
			return fmt.Errorf("domainname: %q: %w", spec.Domainname, err)
		}
	}
	// A given network namespace is set up by who made it.
	if _, created := namespace(spec, specs.NetworkNamespace); created {
		if err := raiseLoopback(); err != nil {
			return fmt.Errorf("linux.namespaces[network]: bringing up the loopback device: %w", err)
		}
	}
	return nil
}

func writeSysctl(name, value string) error {
	f, err := os.OpenFile("/proc/sys/"+sysctlPath(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
		return err
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
