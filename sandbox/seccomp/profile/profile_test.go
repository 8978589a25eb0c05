package profile

import (
	"reflect"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestCompile(t *testing.T) {
	enosys := uint(unix.ENOSYS)
	filter, err := Compile(&specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &enosys,
		Flags:           []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog},
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read", "no_such_call"}, Action: specs.ActAllow},
			{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
				{Index: 0, Value: unix.AF_VSOCK, Op: specs.OpNotEqual}, {Index: 1, Value: 0xf, ValueTwo: 1, Op: specs.OpMaskedEqual}}},
			{Names: []string{"personality"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{
				{Index: 0, Value: 0, Op: specs.OpEqualTo}, {Index: 0, Value: 8, Op: specs.OpEqualTo}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := seccomp.Assemble([]seccomp.Rule{
		{Number: unix.SYS_READ, Action: seccomp.Allow},
		{Number: unix.SYS_SOCKET, Action: seccomp.Allow, Conditions: []seccomp.Condition{
			{Index: 0, Operator: seccomp.NotEqual, Value: unix.AF_VSOCK}, {Index: 1, Operator: seccomp.MaskedEqual, Mask: 0xf, Value: 1}}},
		{Number: unix.SYS_PERSONALITY, Action: seccomp.Action(unix.SECCOMP_RET_LOG), Conditions: []seccomp.Condition{{Index: 0, Value: 0}}},
		{Number: unix.SYS_PERSONALITY, Action: seccomp.Action(unix.SECCOMP_RET_LOG), Conditions: []seccomp.Condition{{Index: 0, Value: 8}}},
	}, seccomp.Deny(unix.ENOSYS))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(filter.Instructions, want) {
		t.Errorf("got  %v\nwant %v", filter.Instructions, want)
	}
	if filter.Flags != unix.SECCOMP_FILTER_FLAG_LOG {
		t.Errorf("flags %#x", filter.Flags)
	}
}

func TestNoProfile(t *testing.T) {
	if filter, err := Compile(nil); filter != nil || err != nil {
		t.Errorf("got %v, %v", filter, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	huge := uint(5000)
	call := func(c specs.LinuxSyscall) *specs.LinuxSeccomp {
		c.Names = []string{"read"}
		return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{c}}
	}
	for want, profile := range map[string]*specs.LinuxSeccomp{
		"linux.seccomp.defaultAction: \"\"":                 {},
		"linux.seccomp.defaultAction: the errno 5000":       {DefaultAction: specs.ActErrno, DefaultErrnoRet: &huge},
		"linux.seccomp.listenerPath: ":                      {DefaultAction: specs.ActAllow, ListenerPath: "/run/agent"},
		"linux.seccomp.flags[0]: \"NEW\"":                   {DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"NEW"}},
		"linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY": call(specs.LinuxSyscall{Action: specs.ActNotify}),
		"linux.seccomp.syscalls[0].action: \"ALLOW\"":       call(specs.LinuxSyscall{Action: "ALLOW"}),
		"linux.seccomp.syscalls[0].args[0].op: \"==\"":      call(specs.LinuxSyscall{Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Op: "=="}}}),
		"linux.seccomp.syscalls[0].args[0].index: 6 is":     call(specs.LinuxSyscall{Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}),
	} {
		if _, err := Compile(profile); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want an error that starts with %s", err, want)
		}
	}
}
