// Package profile translates linux.seccomp of the OCI runtime spec into a
// filter of the kernel's.
package profile

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/seccomp"
	"github.com/elastic/go-seccomp-bpf/arch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Filter is a profile as the kernel takes it.
type Filter struct {
	Instructions []unix.SockFilter
	Flags        uint // SECCOMP_FILTER_FLAG_*
}

// actions are the kernel's, by the spec's names.
var actions = map[specs.LinuxSeccompAction]uint32{
	specs.ActKill:        unix.SECCOMP_RET_KILL_THREAD,
	specs.ActKillThread:  unix.SECCOMP_RET_KILL_THREAD,
	specs.ActKillProcess: unix.SECCOMP_RET_KILL_PROCESS,
	specs.ActTrap:        unix.SECCOMP_RET_TRAP,
	specs.ActErrno:       unix.SECCOMP_RET_ERRNO,
	specs.ActTrace:       unix.SECCOMP_RET_TRACE,
	specs.ActLog:         unix.SECCOMP_RET_LOG,
	specs.ActAllow:       unix.SECCOMP_RET_ALLOW,
}

var operators = map[specs.LinuxSeccompOperator]seccomp.Operator{
	specs.OpEqualTo:      seccomp.Equal,
	specs.OpNotEqual:     seccomp.NotEqual,
	specs.OpLessThan:     seccomp.Less,
	specs.OpLessEqual:    seccomp.LessOrEqual,
	specs.OpGreaterEqual: seccomp.GreaterOrEqual,
	specs.OpGreaterThan:  seccomp.Greater,
	specs.OpMaskedEqual:  seccomp.MaskedEqual,
}

var flags = map[specs.LinuxSeccompFlag]uint{
	"SECCOMP_FILTER_FLAG_TSYNC":            unix.SECCOMP_FILTER_FLAG_TSYNC,
	specs.LinuxSeccompFlagLog:              unix.SECCOMP_FILTER_FLAG_LOG,
	specs.LinuxSeccompFlagSpecAllow:        unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	specs.LinuxSeccompFlagWaitKillableRecv: 0, // is about notifications, which there are none of
}

// Actions, Operators and Flags list what profiles may use, for those who ask
// before they write one.
func Actions() []string   { return names(actions) }
func Operators() []string { return names(operators) }
func Flags() []string     { return names(flags) }

func names[K ~string, V any](m map[K]V) (list []string) {
	for name := range m {
		list = append(list, string(name))
	}
	slices.Sort(list)
	return list
}

// Compile translates a profile; nil is none. Errors name the field. System
// calls that this architecture does not have are passed over, as everywhere:
// profiles are written for all architectures at once.
func Compile(profile *specs.LinuxSeccomp) (*Filter, error) {
	if profile == nil {
		return nil, nil
	}
	if profile.ListenerPath != "" || profile.ListenerMetadata != "" {
		return nil, fmt.Errorf("linux.seccomp.listenerPath: a sandbox cannot have its system calls answered by an agent; use a profile without SCMP_ACT_NOTIFY")
	}
	byDefault, err := action("linux.seccomp.defaultAction", profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	info, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		return nil, fmt.Errorf("linux.seccomp: %w", err)
	}
	var rules []seccomp.Rule
	for i, call := range profile.Syscalls {
		field := fmt.Sprintf("linux.seccomp.syscalls[%d]", i)
		made, err := compileRule(field, call, info)
		if err != nil {
			return nil, err
		}
		rules = append(rules, made...)
	}
	filter := &Filter{}
	for i, name := range profile.Flags {
		flag, known := flags[name]
		if !known {
			return nil, fmt.Errorf("linux.seccomp.flags[%d]: %q is none of %s", i, name, strings.Join(Flags(), ", "))
		}
		filter.Flags |= flag
	}
	if filter.Instructions, err = seccomp.Assemble(rules, byDefault); err != nil {
		return nil, fmt.Errorf("linux.seccomp: %w", err)
	}
	return filter, nil
}

func compileRule(field string, call specs.LinuxSyscall, info *arch.Info) (rules []seccomp.Rule, err error) {
	rule := seccomp.Rule{}
	if rule.Action, err = action(field+".action", call.Action, call.ErrnoRet); err != nil {
		return nil, err
	}
	alternatives, err := conditions(field, call.Args)
	if err != nil {
		return nil, err
	}
	for _, name := range call.Names {
		number, known := info.SyscallNames[name]
		if !known {
			continue
		}
		rule.Number = uint32(number)
		for _, rule.Conditions = range alternatives {
			rules = append(rules, rule)
		}
	}
	return rules, nil
}

// conditions returns alternatives, each of which is a list that must hold as a
// whole. All conditions must hold together, but several of one argument are
// alternatives: so runc reads profiles, because older ones were written for a
// library that cannot compare an argument twice.
func conditions(field string, args []specs.LinuxSeccompArg) ([][]seccomp.Condition, error) {
	var all []seccomp.Condition
	seen := map[uint]bool{}
	repeated := false
	for i, arg := range args {
		operator, known := operators[arg.Op]
		if !known {
			return nil, fmt.Errorf("%s.args[%d].op: %q is none of %s", field, i, arg.Op, strings.Join(Operators(), ", "))
		}
		if arg.Index > 5 {
			return nil, fmt.Errorf("%s.args[%d].index: %d is above 5, and a system call has six arguments", field, i, arg.Index)
		}
		condition := seccomp.Condition{Index: arg.Index, Operator: operator, Value: arg.Value}
		if operator == seccomp.MaskedEqual {
			condition.Mask, condition.Value = arg.Value, arg.ValueTwo
		}
		all = append(all, condition)
		repeated = repeated || seen[arg.Index]
		seen[arg.Index] = true
	}
	if !repeated {
		return [][]seccomp.Condition{all}, nil
	}
	var alternatives [][]seccomp.Condition
	for _, condition := range all {
		alternatives = append(alternatives, []seccomp.Condition{condition})
	}
	return alternatives, nil
}

// maxErrno is MAX_ERRNO of include/linux/err.h.
const maxErrno = 4095

func action(field string, name specs.LinuxSeccompAction, errno *uint) (seccomp.Action, error) {
	number, known := actions[name]
	if !known {
		if name == specs.ActNotify {
			return 0, fmt.Errorf("%s: SCMP_ACT_NOTIFY needs an agent that answers system calls, which a sandbox cannot have", field)
		}
		return 0, fmt.Errorf("%s: %q is none of %s", field, name, strings.Join(Actions(), ", "))
	}
	if number != unix.SECCOMP_RET_ERRNO && number != unix.SECCOMP_RET_TRACE {
		return seccomp.Action(number), nil
	}
	value := uint(unix.EPERM)
	if errno != nil {
		value = *errno
	}
	if value > maxErrno {
		return 0, fmt.Errorf("%s: the errno %d is above %d", field, value, maxErrno)
	}
	return seccomp.Action(number) | seccomp.Action(value), nil
}
