package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/moby/sys/userns"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// namespaces are open namespaces to join, in an order in which setns allows it.
type namespaces []namespace

type namespace struct {
	jail.Join
	file *os.File
}

func openNamespaces(joins []jail.Join) (opened namespaces, err error) {
	for _, join := range joins {
		file, err := os.Open(join.Path)
		if err != nil {
			opened.close()
			return nil, fmt.Errorf("linux.namespaces[%s]: %w", join.Type, ownOnly(err))
		}
		opened = append(opened, namespace{join, file})
	}
	return opened, nil
}

// kinds are all kinds of namespaces that a process can share, and the files of
// a process's own below /proc/PID/ns. The user namespace comes first, because
// it gives the rights over those that it owns.
var kinds = []struct {
	kind specs.LinuxNamespaceType
	flag int
	name string
}{
	{specs.UserNamespace, unix.CLONE_NEWUSER, "user"},
	{specs.NetworkNamespace, unix.CLONE_NEWNET, "net"},
	{specs.IPCNamespace, unix.CLONE_NEWIPC, "ipc"},
	{specs.UTSNamespace, unix.CLONE_NEWUTS, "uts"},
	{specs.CgroupNamespace, unix.CLONE_NEWCGROUP, "cgroup"},
	{specs.MountNamespace, unix.CLONE_NEWNS, "mnt"},
	{specs.PIDNamespace, unix.CLONE_NEWPID, "pid"},
}

// namespaces opens those of the process's namespaces that are not this
// process's too. The caller closes them.
func (p *Process) namespaces() (opened namespaces, err error) {
	defer func() {
		// What was opened by pid is the process's only if it still lives.
		if alive := p.Signal(0); alive != nil {
			err = alive
		}
		if err != nil {
			opened.close()
		}
	}()
	for _, k := range kinds {
		path := fmt.Sprintf("/proc/%d/ns/%s", p.pid, k.name)
		theirs, err := os.Readlink(path)
		if err != nil {
			return opened, err
		}
		if ours, err := os.Readlink("/proc/self/ns/" + k.name); err != nil || ours == theirs {
			if err != nil {
				return opened, err
			}
			continue
		}
		file, err := os.Open(path)
		if err != nil {
			return opened, err
		}
		opened = append(opened, namespace{jail.Join{Type: k.kind, Path: path, Flag: k.flag}, file})
	}
	return opened, nil
}

// take removes the namespace of the given kind, which the caller closes.
func (n *namespaces) take(flag int) (taken namespace, ok bool) {
	i := slices.IndexFunc(*n, func(ns namespace) bool { return ns.Flag == flag })
	if i < 0 {
		return namespace{}, false
	}
	taken = (*n)[i]
	*n = slices.Delete(*n, i, i+1)
	return taken, true
}

// fd returns the namespace's descriptor, -1 for none.
func (n namespace) fd() int {
	if n.file == nil {
		return -1
	}
	return int(n.file.Fd())
}

func (n namespace) close() {
	if n.file != nil {
		n.file.Close()
	}
}

func (n namespaces) close() {
	for _, ns := range n {
		ns.close()
	}
}

// enter moves the calling thread into the namespaces one by one. The function
// it returns, which is to be called in any case, goes back to the thread's own;
// it returns false where it could not.
func (n namespaces) enter() (back func() bool, err error) {
	var own namespaces
	back = func() bool {
		defer own.close()
		fit := true
		for i := len(own) - 1; i >= 0; i-- {
			fit = unix.Setns(own[i].fd(), own[i].Flag) == nil && fit
		}
		return fit
	}
	for _, ns := range n {
		file, err := openOwn(ns.Flag)
		if err != nil {
			return back, fmt.Errorf("linux.namespaces[%s]: %w", ns.Type, err)
		}
		if err := unix.Setns(ns.fd(), ns.Flag); err != nil {
			file.Close()
			return back, fmt.Errorf("linux.namespaces[%s]: joining %s: %w", ns.Type, ns.Path, ownOnly(err))
		}
		own = append(own, namespace{ns.Join, file})
	}
	return back, nil
}

// ownOnly says of a refusal what is behind it.
func ownOnly(err error) error {
	if errors.Is(err, fs.ErrPermission) && userns.RunningInUserNS() {
		return fmt.Errorf("%w; containerd is in a user namespace, where only namespaces that belong to it can be joined", err)
	}
	return err
}

// openOwn opens a namespace of the calling thread.
func openOwn(flag int) (*os.File, error) {
	for _, k := range kinds {
		if k.flag == flag {
			return os.Open("/proc/thread-self/ns/" + k.name)
		}
	}
	return nil, errors.New("no such kind of namespace")
}
