package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hold starts a process that is gone when the test is.
func hold(t *testing.T, spec *specs.Spec) *Process {
	t.Helper()
	p, err := Hold(context.Background(), PodConfig{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(unix.SIGKILL)
		_, _ = unix.Wait4(p.Pid(), nil, 0, nil)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func podSpec(kinds ...specs.LinuxNamespaceType) *specs.Spec {
	s := &specs.Spec{Hostname: "the-pod", Linux: &specs.Linux{}}
	for _, kind := range append(kinds, specs.MountNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.NetworkNamespace) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
	}
	return s
}

// TestHold has a container join what a pod's process holds.
func TestHold(t *testing.T) {
	spec := podSpec()
	spec.Linux.Sysctl = map[string]string{"kernel.shmmni": "1234", "net.ipv4.ip_unprivileged_port_start": "0"}
	pod := hold(t, spec)
	cfg := newConfig(t, spins)
	for _, kind := range []specs.LinuxNamespaceType{specs.IPCNamespace, specs.UTSNamespace, specs.NetworkNamespace} {
		i := slices.IndexFunc(cfg.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
		name := map[specs.LinuxNamespaceType]string{specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.NetworkNamespace: "net"}[kind]
		cfg.Spec.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/%s", pod.Pid(), name)
	}
	guest := create(t, cfg)
	for _, name := range []string{"ipc", "uts", "net"} {
		theirs, ours := namespaceLink(t, guest.Pid(), name), namespaceLink(t, pod.Pid(), name)
		if theirs != ours || ours == namespaceLink(t, os.Getpid(), name) {
			t.Errorf("the guest is in %s, the pod in %s", theirs, ours)
		}
	}
	err := onForkThread(mustOpen(t, pod), func() error {
		var uts unix.Utsname
		if err := unix.Uname(&uts); err != nil {
			return err
		}
		if got := unix.ByteSliceToString(uts.Nodename[:]); got != "the-pod" {
			t.Errorf("host name %q", got)
		}
		for file, want := range map[string]string{"kernel/shmmni": "1234", "net/ipv4/ip_unprivileged_port_start": "0"} {
			data, err := os.ReadFile("/proc/sys/" + file)
			if err != nil || strings.TrimSpace(string(data)) != want {
				t.Errorf("%s is %q, %v", file, data, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func namespaceLink(t *testing.T, pid int, name string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// mustOpen opens those namespaces of a process that a thread can join for a while.
func mustOpen(t *testing.T, p *Process) (some namespaces) {
	t.Helper()
	all, err := p.namespaces()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.close)
	for _, ns := range all {
		if ns.Flag&(unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWNET) != 0 {
			some = append(some, ns)
		}
	}
	return some
}

// TestHoldIsSmall looks at what a pod's process costs beside a container, with
// which it shares its program, and at what it has.
func TestHoldIsSmall(t *testing.T) {
	pod := hold(t, podSpec())
	create(t, newConfig(t, spins))
	const most = 2 << 20
	var size int64
	for wait := time.Duration(0); wait < 5*time.Second; wait += 50 * time.Millisecond {
		if size = proportionalSize(t, pod.Pid()); size < most {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("%d KiB", size>>10)
	if size >= most {
		t.Errorf("the process takes %d KiB", size>>10)
	}
	root, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", pod.Pid()))
	if err != nil || len(root) > 0 {
		t.Errorf("its root file system has %v, %v", root, err)
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pod.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, _ := os.Readlink(link); target != "/dev/null" && !strings.HasPrefix(target, "socket:") && !strings.HasPrefix(target, "anon_inode:") {
			t.Errorf("it has %s open", target)
		}
	}
}

// proportionalSize is the process's memory, of shared pages its part, in bytes.
func proportionalSize(t *testing.T, pid int) (size int64) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &size); n == 1 {
			return size << 10
		}
	}
	t.Fatalf("no Pss in %s", data)
	return 0
}

// TestHoldEnds sends the signals of which a pod's first process must die, as pid 1
// of its own namespace.
func TestHoldEnds(t *testing.T) {
	for signal, want := range map[unix.Signal]int{unix.SIGTERM: 143, unix.SIGKILL: 137} {
		p := hold(t, podSpec(specs.PIDNamespace))
		if err := p.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if status := wait(t, p); status != want {
			t.Errorf("exit status %d after signal %d, not %d", status, signal, want)
		}
	}
}

// TestHoldRefuses names the field of a spec that cannot be.
func TestHoldRefuses(t *testing.T) {
	for field, edit := range map[string]func(*specs.Spec){
		"linux.sysctl[kernel.panic]": func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.panic": "1"} },
		"linux.sysctl[kernel.sem]":   func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.sem": "many"} },
		"hostname":                   func(s *specs.Spec) { s.Hostname = strings.Repeat("x", 65) },
		"/nothing/here":              func(s *specs.Spec) { s.Linux.Namespaces[3].Path = "/nothing/here" },
	} {
		spec := podSpec()
		edit(spec)
		p, err := Hold(t.Context(), PodConfig{Spec: spec})
		if err == nil {
			_ = p.Close()
			t.Errorf("%s was not refused", field)
		} else if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	reapAll()
}

// reapAll reaps what has failed.
func reapAll() {
	for {
		if pid, err := unix.Wait4(-1, nil, 0, nil); pid <= 0 || err != nil {
			return
		}
	}
}
