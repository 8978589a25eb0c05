package seccomp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Action is what the kernel does with a call: one of unix.SECCOMP_RET_*, with
// an errno in the lower half where it is SECCOMP_RET_ERRNO.
type Action uint32

// Deny makes a call fail with an errno.
func Deny(errno unix.Errno) Action { return Action(unix.SECCOMP_RET_ERRNO) | Action(errno) }

// Allow lets a call through.
const Allow = Action(unix.SECCOMP_RET_ALLOW)

// kill ends the process, with SIGSYS.
const kill = Action(unix.SECCOMP_RET_KILL_PROCESS)

// Operator compares an argument of a call with a value.
type Operator int

// The operators of libseccomp, which the runtime spec has too. MaskedEqual
// compares the bits in Mask.
const (
	Equal Operator = iota
	NotEqual
	Less
	LessOrEqual
	GreaterOrEqual
	Greater
	MaskedEqual
)

// Condition is one about an argument of a call.
type Condition struct {
	Index    uint // 0 to 5
	Operator Operator
	Value    uint64
	Mask     uint64
}

// Rule is the action for one call where all conditions hold.
type Rule struct {
	Number     uint32 // of the call, on this architecture
	Conditions []Condition
	Action     Action
}

// maxInstructions is BPF_MAXINSNS of include/uapi/linux/bpf_common.h.
const maxInstructions = 4096

// Offsets in struct seccomp_data, include/uapi/linux/seccomp.h.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// Assemble makes a filter. Of the rules for a call the first that holds counts,
// one without conditions after all others; where none holds, the default does.
// A call of another architecture than this program's ends the process: no
// sandbox makes one, and its number would mean something else.
func Assemble(rules []Rule, byDefault Action) ([]unix.SockFilter, error) {
	p := program{
		load(offsetArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		ret(kill),
		load(offsetNumber),
	}
	p = append(p, foreignNumbers...)
	for _, group := range byNumber(rules) {
		var block program
		for _, rule := range group {
			block = append(block, rule.assemble()...)
		}
		if last := group[len(group)-1]; len(last.Conditions) > 0 {
			block = append(block, ret(byDefault))
		}
		// The number is in the accumulator, and stays there unless the block is entered.
		p = append(p, jump(unix.BPF_JEQ, group[0].Number, 1, 0), skip(len(block)))
		p = append(p, block...)
	}
	p = append(p, ret(byDefault))
	if len(p) > maxInstructions {
		return nil, fmt.Errorf("the filter has %d instructions, more than the %d that the kernel takes: use fewer rules", len(p), maxInstructions)
	}
	return p, nil
}

// byNumber groups the rules, in the order in which calls first occur; a rule
// without conditions ends its group.
func byNumber(rules []Rule) (groups [][]Rule) {
	where := map[uint32]int{}
	closing := map[uint32]Rule{}
	for _, rule := range rules {
		i, seen := where[rule.Number]
		if !seen {
			i = len(groups)
			where[rule.Number] = i
			groups = append(groups, nil)
		}
		if len(rule.Conditions) > 0 {
			groups[i] = append(groups[i], rule)
		} else if _, closed := closing[rule.Number]; !closed {
			closing[rule.Number] = rule
		}
	}
	for number, rule := range closing {
		groups[where[number]] = append(groups[where[number]], rule)
	}
	return groups
}

type program []unix.SockFilter

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(test uint16, value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | test, K: value, Jt: yes, Jf: no}
}

func skip(instructions int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(instructions)}
}

func and(mask uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask}
}

func ret(action Action) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(action)}
}

// assemble returns code that ends with the action where all conditions hold,
// and else runs on behind it.
func (r Rule) assemble() program {
	code := program{ret(r.Action)}
	for i := len(r.Conditions) - 1; i >= 0; i-- {
		// The code so far is what follows if the condition holds.
		code = append(r.Conditions[i].assemble(len(code)), code...)
	}
	return code
}

// assemble returns code that runs on behind it where the condition holds, and
// else skips as many instructions more as are given. The kernel's arguments
// have 64 bits, its filters compare 32.
func (c Condition) assemble(rest int) program {
	high, low := uint32(c.Value>>32), uint32(c.Value)
	offset := offsetArgs + 8*uint32(c.Index)
	loadLow, loadHigh := load(offset), load(offset+4) // both architectures are little-endian
	no := skip(rest)
	switch c.Operator {
	case NotEqual:
		return program{
			loadHigh, jump(unix.BPF_JEQ, high, 0, 3),
			loadLow, jump(unix.BPF_JEQ, low, 0, 1),
			no,
		}
	case MaskedEqual:
		return program{
			loadHigh, and(uint32(c.Mask >> 32)), jump(unix.BPF_JEQ, high, 0, 3),
			loadLow, and(uint32(c.Mask)), jump(unix.BPF_JEQ, low, 1, 0),
			no,
		}
	case Greater, GreaterOrEqual:
		test := uint16(unix.BPF_JGT)
		if c.Operator == GreaterOrEqual {
			test = unix.BPF_JGE
		}
		return program{
			loadHigh, jump(unix.BPF_JGT, high, 4, 0), jump(unix.BPF_JEQ, high, 0, 2),
			loadLow, jump(test, low, 1, 0),
			no,
		}
	case Less, LessOrEqual:
		// Less is not greater or equal, and so on.
		test := uint16(unix.BPF_JGE)
		if c.Operator == LessOrEqual {
			test = unix.BPF_JGT
		}
		return program{
			loadHigh, jump(unix.BPF_JGT, high, 3, 0), jump(unix.BPF_JEQ, high, 0, 3),
			loadLow, jump(test, low, 0, 1),
			no,
		}
	default:
		return program{
			loadHigh, jump(unix.BPF_JEQ, high, 0, 2),
			loadLow, jump(unix.BPF_JEQ, low, 1, 0),
			no,
		}
	}
}
