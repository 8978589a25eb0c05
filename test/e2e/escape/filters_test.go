package escape

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"

	own "github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/seccomp"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/seccomp/profile"
)

// sentry is not found here but read in gVisor's source: runsc/boot/filter/config
// and pkg/sentry/platform/systrap at revision 3c5eee17dc45 of August 2026, the
// union of the rules for amd64, with direct access to files, which is the default.
const sentry = "gVisor's sentry, platform systrap, directfs (read in its source, revision 3c5eee17dc45)"

// TestFilters counts the system calls that filters let through.
func TestFilters(t *testing.T) {
	table, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "| filter | of %d calls, let through | of these, with any arguments |\n|---|---:|---:|\n", len(table.SyscallNumbers))
	for _, f := range []struct {
		name string
		make func() ([]unix.SockFilter, error)
	}{
		{"a process that compiles a module", own.Compiler},
		{"a sandbox", func() ([]unix.SockFilter, error) { return own.Sandbox(nil, false) }},
		{"a sandbox that listens", func() ([]unix.SockFilter, error) { return own.Sandbox(nil, true) }},
		{sentry, nil},
		{"containerd's default profile for runc, with its default capabilities", defaultProfile},
	} {
		if f.make == nil {
			fmt.Fprintf(&text, "| %s | 96 | |\n", f.name)
			continue
		}
		filter, err := f.make()
		if err != nil {
			t.Fatal(err)
		}
		some, all := 0, 0
		for number := range table.SyscallNumbers {
			actions := reachable(filter, uint32(number))
			if actions[unix.SECCOMP_RET_ALLOW] {
				some++
				if len(actions) == 1 {
					all++
				}
			}
		}
		fmt.Fprintf(&text, "| %s | %d | %d |\n", f.name, some, all)
	}
	keep(t, "filters", text.String())
}

// defaultProfile is what `ctr run --seccomp` has runc install.
func defaultProfile() ([]unix.SockFilter, error) {
	ctx := namespaces.WithNamespace(context.Background(), "none")
	spec, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: "none"})
	if err != nil {
		return nil, err
	}
	filter, err := profile.Compile(seccomp.DefaultProfile(spec))
	if err != nil {
		return nil, err
	}
	return filter.Instructions, nil
}

// reachable returns the actions that a filter can take for a call, whatever its
// arguments are: what depends on an argument goes both ways.
func reachable(filter []unix.SockFilter, number uint32) map[uint32]bool {
	type state struct {
		at    int
		value uint32
		known bool // value, else it is an argument's
	}
	actions, seen, todo := map[uint32]bool{}, map[state]bool{}, []state{{}}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		i := filter[s.at]
		s.at++
		yes, no := s, s
		yes.at, no.at = s.at+int(i.Jt), s.at+int(i.Jf)
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			switch i.K {
			case 0:
				s.value, s.known = number, true
			case 4:
				s.value, s.known = architecture, true
			default:
				s.value, s.known = 0, false
			}
			todo = append(todo, s)
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			s.value &= i.K
			todo = append(todo, s)
		case unix.BPF_JMP | unix.BPF_JA:
			s.at += int(i.K)
			todo = append(todo, s)
		case unix.BPF_RET | unix.BPF_K:
			actions[i.K] = true
		default:
			if !s.known {
				todo = append(todo, yes, no)
				continue
			}
			holds := map[uint16]bool{
				unix.BPF_JEQ: s.value == i.K, unix.BPF_JGT: s.value > i.K, unix.BPF_JGE: s.value >= i.K, unix.BPF_JSET: s.value&i.K != 0,
			}
			if holds[i.Code&0xf0] {
				todo = append(todo, yes)
			} else {
				todo = append(todo, no)
			}
		}
	}
	return actions
}

var architecture = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
