package seccomp

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// matched is the errno of rules in tests, which no probe gives by itself.
const matched = unix.Errno(200)

// probeNumber is a harmless call whose arguments the kernel ignores.
const probeNumber = unix.SYS_GETPPID

func TestConditions(t *testing.T) {
	const big = 5<<32 | 7
	tests := []struct {
		condition Condition
		yes, no   []uint64
	}{
		{Condition{Operator: Equal, Value: big}, []uint64{big}, []uint64{7, 5 << 32, big + 1, 0}},
		{Condition{Operator: NotEqual, Value: big}, []uint64{7, 5 << 32, big + 1, 0}, []uint64{big}},
		{Condition{Operator: Less, Value: big}, []uint64{0, 9, 4<<32 | 9, big - 1}, []uint64{big, big + 1, 6 << 32}},
		{Condition{Operator: LessOrEqual, Value: big}, []uint64{0, 9, 4<<32 | 9, big - 1, big}, []uint64{big + 1, 6 << 32}},
		{Condition{Operator: Greater, Value: big}, []uint64{big + 1, 6 << 32}, []uint64{0, 9, 4<<32 | 9, big - 1, big}},
		{Condition{Operator: GreaterOrEqual, Value: big}, []uint64{big, big + 1, 6 << 32}, []uint64{0, 9, 4<<32 | 9, big - 1}},
		{Condition{Operator: MaskedEqual, Mask: 0xf<<32 | 0xf, Value: big}, []uint64{big, 0xf5<<32 | 0xf7}, []uint64{7, 5 << 32, big + 8, 0}},
	}
	for _, index := range []uint{0, 5} {
		for _, test := range tests {
			test.condition.Index = index
			t.Run(fmt.Sprintf("operator %d of argument %d", test.condition.Operator, index), func(t *testing.T) {
				filter := assemble(t, []Rule{{Number: probeNumber, Conditions: []Condition{test.condition}, Action: Deny(matched)}}, Allow)
				var probes []probe
				for _, value := range append(test.yes, test.no...) {
					p := probe{number: probeNumber}
					p.args[index] = uintptr(value)
					probes = append(probes, p)
				}
				for i, errno := range under(t, filter, probes) {
					if want := i < len(test.yes); (errno == matched) != want {
						t.Errorf("value %#x: errno %d, matched should be %v", probes[i].args[index], errno, want)
					}
				}
			})
		}
	}
}

// assemble returns a filter in the form that under takes.
func assemble(t *testing.T, rules []Rule, byDefault Action) string {
	t.Helper()
	filter, err := Assemble(rules, byDefault)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, i := range filter {
		words = append(words, fmt.Sprintf("%d,%d,%d,%d", i.Code, i.Jt, i.Jf, i.K))
	}
	return strings.Join(words, " ")
}

func TestTheFirstRuleThatHoldsCounts(t *testing.T) {
	one := Condition{Index: 0, Operator: Equal, Value: 1}
	two := Condition{Index: 1, Operator: Equal, Value: 2}
	rules := []Rule{
		{Number: probeNumber, Action: Deny(203)},
		{Number: probeNumber, Conditions: []Condition{one, two}, Action: Deny(201)},
		{Number: probeNumber, Conditions: []Condition{one}, Action: Deny(202)},
		{Number: probeNumber, Action: Deny(204)},
	}
	// Enough rules for another call that a jump over them does not fit in a byte.
	for i := range 100 {
		rules = append([]Rule{{Number: unix.SYS_GETPGID, Action: Deny(205), Conditions: []Condition{{Index: 0, Operator: Equal, Value: uint64(1000 + i)}}}}, rules...)
	}
	probes := []probe{
		{probeNumber, [6]uintptr{1, 2}}, {probeNumber, [6]uintptr{1, 3}}, {probeNumber, [6]uintptr{2, 2}},
		{unix.SYS_GETPGID, [6]uintptr{1099}}, {unix.SYS_GETPGID, [6]uintptr{0}},
	}
	want := []unix.Errno{201, 202, 203, 205, 0}
	for i, errno := range under(t, assemble(t, rules, Allow), probes) {
		if errno != want[i] {
			t.Errorf("probe %d: errno %d, want %d", i, errno, want[i])
		}
	}
}

func TestTooManyRules(t *testing.T) {
	rules := make([]Rule, 2000)
	for i := range rules {
		rules[i] = Rule{Number: uint32(i), Action: Allow}
	}
	if _, err := Assemble(rules, Deny(unix.EPERM)); err == nil || !strings.Contains(err.Error(), "use fewer rules") {
		t.Errorf("got %v", err)
	}
}
