package profile

import (
	"encoding/json"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/arbitrary"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/sentence"
)

// auditArch is this architecture as seccomp names it.
var auditArch = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]

// FuzzCompile compiles profiles, and runs what comes of it as the kernel would: for
// every call that a profile names, and for one that it does not, the filter and the
// profile are of one mind.
func FuzzCompile(f *testing.F) {
	for _, profile := range []string{
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","write","no_such_call"],"action":"SCMP_ACT_ALLOW"}]}`,
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[{"names":["personality"],"action":"SCMP_ACT_ERRNO","errnoRet":38,"args":[{"index":0,"value":8,"op":"SCMP_CMP_NE"},{"index":1,"value":4294967296,"op":"SCMP_CMP_GT"}]}]}`,
		`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},{"names":["clone"],"action":"SCMP_ACT_TRAP"}]}`,
		`{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["socket"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_LE"},{"index":0,"value":40,"op":"SCMP_CMP_GE"},{"index":5,"value":7,"op":"SCMP_CMP_LT"}]}]}`,
		`{"defaultAction":"SCMP_ACT_NOTIFY"}`,
		`{"defaultAction":"a\nb","flags":["\u001b"],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":70000}]}`,
	} {
		f.Add([]byte(profile), []byte{}, uint64(1), uint64(1)<<32)
		f.Add([]byte(profile), []byte("\x06\x02\x00\x03\x00 and so on"), uint64(8), uint64(1)<<63)
	}
	calls, err := arch.GetInfo(runtime.GOARCH)
	if err != nil {
		f.Fatal(err)
	}
	words := slices.Concat(Actions(), Operators(), Flags(), []string{"read", "clone", "socket", "personality", "no_such_call", "", "\n"})
	f.Fuzz(func(t *testing.T, text, changes []byte, low, high uint64) {
		var profile specs.LinuxSeccomp
		if json.Unmarshal(text, &profile) != nil {
			return
		}
		arbitrary.Change(&profile, changes, words...)
		filter, err := Compile(&profile)
		if err != nil {
			sentence.Check(t, err, "linux.seccomp")
			return
		}
		if again, err := Compile(&profile); err != nil || !reflect.DeepEqual(again, filter) {
			t.Errorf("compiled again, it is another: %v", err)
		}
		numbers := map[uint32]string{1 << 20: "\x00 none"} // no call has that number
		for _, rule := range profile.Syscalls {
			for _, name := range rule.Names {
				if number, known := calls.SyscallNames[name]; known {
					numbers[uint32(number)] = name
				}
			}
		}
		// Values about those that the profile compares with.
		values := []uint64{0, low, high}
		for _, rule := range profile.Syscalls {
			for _, arg := range rule.Args {
				values = append(values, arg.Value-1, arg.Value, arg.Value+1, arg.ValueTwo, arg.Value^high)
			}
		}
		values = values[:min(len(values), 16)]
		for number, name := range numbers {
			for i := range values {
				var args [6]uint64
				for j := range args {
					args[j] = values[(i+j)%len(values)]
				}
				got, want := run(t, filter.Instructions, number, args), verdict(&profile, name, args)
				if got != want {
					t.Fatalf("%s(%#x): the filter says %#x, the profile %#x", name, args, got, want)
				}
			}
		}
	})
}

// verdict reads the profile: the first rule that holds counts, one without
// conditions after all others.
func verdict(p *specs.LinuxSeccomp, name string, args [6]uint64) uint32 {
	var always *specs.LinuxSyscall
	for i, rule := range p.Syscalls {
		named := false
		for _, n := range rule.Names {
			named = named || n == name
		}
		switch {
		case !named:
		case len(rule.Args) > 0:
			if holds(rule.Args, args) {
				return code(rule.Action, rule.ErrnoRet)
			}
		case always == nil:
			always = &p.Syscalls[i]
		}
	}
	if always != nil {
		return code(always.Action, always.ErrnoRet)
	}
	return code(p.DefaultAction, p.DefaultErrnoRet)
}

func code(name specs.LinuxSeccompAction, errno *uint) uint32 {
	number := actions[name]
	if number != unix.SECCOMP_RET_ERRNO && number != unix.SECCOMP_RET_TRACE {
		return number
	}
	if errno == nil {
		return number | uint32(unix.EPERM)
	}
	return number | uint32(*errno)
}

// holds says whether all conditions do, or one of them where an argument has two.
func holds(conditions []specs.LinuxSeccompArg, args [6]uint64) bool {
	seen := map[uint]bool{}
	all, some, repeated := true, false, false
	for _, c := range conditions {
		a, is := args[c.Index], false
		switch c.Op {
		case specs.OpNotEqual:
			is = a != c.Value
		case specs.OpLessThan:
			is = a < c.Value
		case specs.OpLessEqual:
			is = a <= c.Value
		case specs.OpEqualTo:
			is = a == c.Value
		case specs.OpGreaterEqual:
			is = a >= c.Value
		case specs.OpGreaterThan:
			is = a > c.Value
		case specs.OpMaskedEqual:
			is = a&c.Value == c.ValueTwo
		}
		all, some = all && is, some || is
		repeated = repeated || seen[c.Index]
		seen[c.Index] = true
	}
	if repeated {
		return some
	}
	return all
}

// run is the kernel's part: classic BPF on a struct seccomp_data.
func run(t *testing.T, filter []unix.SockFilter, number uint32, args [6]uint64) uint32 {
	data := map[uint32]uint32{0: number, 4: auditArch}
	for i, arg := range args {
		data[uint32(16+8*i)], data[uint32(20+8*i)] = uint32(arg), uint32(arg>>32)
	}
	var a uint32
	for pc := 0; pc < len(filter); pc++ {
		i := filter[pc]
		branch := func(is bool) {
			if is {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			word, known := data[i.K]
			if !known {
				t.Fatalf("instruction %d loads from %d", pc, i.K)
			}
			a = word
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ:
			branch(a == i.K)
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JGT:
			branch(a > i.K)
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JGE:
			branch(a >= i.K)
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JSET:
			branch(a&i.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		default:
			t.Fatalf("instruction %d has the code %#x", pc, i.Code)
		}
	}
	t.Fatal("the filter runs over its end")
	return 0
}
