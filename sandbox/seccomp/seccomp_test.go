package seccomp

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// probe is a system call that a filter is tried on.
type probe struct {
	number uintptr
	args   [6]uintptr
}

// TestMain is also the process that puts itself under a filter: installing one
// cannot be undone.
func TestMain(m *testing.M) {
	if encoded := os.Getenv("SECCOMP_TEST_FILTER"); encoded != "" {
		tryProbes(encoded, os.Args[1:])
	}
	os.Exit(m.Run())
}

// tryProbes installs the filter and prints the errno of each probe.
func tryProbes(encoded string, probes []string) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	var filter []unix.SockFilter
	if encoded == "sandbox" {
		var err error
		if filter, err = Sandbox(); err != nil {
			panic(err)
		}
	} else {
		for text := range strings.SplitSeq(encoded, " ") {
			var i unix.SockFilter
			if _, err := fmt.Sscanf(text, "%d,%d,%d,%d", &i.Code, &i.Jt, &i.Jf, &i.K); err != nil {
				panic(err)
			}
			filter = append(filter, i)
		}
	}
	if err := Install(filter, 0); err != nil {
		panic(err)
	}
	for _, text := range probes {
		var n [7]uintptr
		for i, word := range strings.Split(text, ",") {
			v, err := strconv.ParseUint(word, 10, 64)
			if err != nil {
				panic(err)
			}
			n[i] = uintptr(v)
		}
		_, _, errno := unix.RawSyscall6(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
		fmt.Println(int(errno))
	}
	os.Exit(0)
}

// under tries the probes in a process under the filter and returns their errnos.
func under(t *testing.T, filter string, probes []probe) []unix.Errno {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"SECCOMP_TEST_FILTER=" + filter, "GODEBUG=decoratemappings=0,containermaxprocs=0,updatemaxprocs=0"}
	cmd.Stderr = os.Stderr
	for _, p := range probes {
		text := fmt.Sprint(p.number)
		for _, arg := range p.args {
			text += "," + strconv.FormatUint(uint64(arg), 10)
		}
		cmd.Args = append(cmd.Args, text)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the process under the filter: %v", err)
	}
	var errnos []unix.Errno
	for _, word := range strings.Fields(string(out)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		errnos = append(errnos, unix.Errno(n))
	}
	if len(errnos) != len(probes) {
		t.Fatalf("%d answers to %d probes:\n%s", len(errnos), len(probes), out)
	}
	return errnos
}

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

func TestSandboxRefuses(t *testing.T) {
	page := uintptr(os.Getpagesize())
	const anonymous = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	refused := map[string]probe{
		"execve":                      {number: unix.SYS_EXECVE},
		"execveat":                    {number: unix.SYS_EXECVEAT},
		"a process by clone":          {unix.SYS_CLONE, [6]uintptr{uintptr(unix.SIGCHLD)}},
		"a namespace by clone":        {unix.SYS_CLONE, [6]uintptr{threadFlags | unix.CLONE_NEWUSER}},
		"unshare":                     {unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUSER}},
		"setns":                       {number: unix.SYS_SETNS},
		"ptrace":                      {unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_TRACEME}},
		"process_vm_writev":           {number: unix.SYS_PROCESS_VM_WRITEV},
		"pidfd_open":                  {unix.SYS_PIDFD_OPEN, [6]uintptr{1}},
		"kill":                        {unix.SYS_KILL, [6]uintptr{1, 0}},
		"tgkill of another process":   {unix.SYS_TGKILL, [6]uintptr{1, 1, 0}},
		"mount":                       {number: unix.SYS_MOUNT},
		"umount2":                     {number: unix.SYS_UMOUNT2},
		"pivot_root":                  {number: unix.SYS_PIVOT_ROOT},
		"chroot":                      {number: unix.SYS_CHROOT},
		"open_tree":                   {number: unix.SYS_OPEN_TREE},
		"move_mount":                  {number: unix.SYS_MOVE_MOUNT},
		"fsopen":                      {number: unix.SYS_FSOPEN},
		"name_to_handle_at":           {number: unix.SYS_NAME_TO_HANDLE_AT},
		"open_by_handle_at":           {number: unix.SYS_OPEN_BY_HANDLE_AT},
		"init_module":                 {number: unix.SYS_INIT_MODULE},
		"finit_module":                {number: unix.SYS_FINIT_MODULE},
		"kexec_load":                  {number: unix.SYS_KEXEC_LOAD},
		"bpf":                         {number: unix.SYS_BPF},
		"perf_event_open":             {number: unix.SYS_PERF_EVENT_OPEN},
		"userfaultfd":                 {number: unix.SYS_USERFAULTFD},
		"io_uring_setup":              {unix.SYS_IO_URING_SETUP, [6]uintptr{1}},
		"io_setup":                    {unix.SYS_IO_SETUP, [6]uintptr{1}},
		"keyctl":                      {number: unix.SYS_KEYCTL},
		"add_key":                     {number: unix.SYS_ADD_KEY},
		"a socket":                    {unix.SYS_SOCKET, [6]uintptr{unix.AF_INET, unix.SOCK_STREAM}},
		"a Unix socket":               {unix.SYS_SOCKET, [6]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}},
		"a raw socket":                {unix.SYS_SOCKET, [6]uintptr{unix.AF_PACKET, unix.SOCK_RAW}},
		"setuid":                      {number: unix.SYS_SETUID},
		"capset":                      {number: unix.SYS_CAPSET},
		"prctl":                       {unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_DUMPABLE, 1}},
		"personality":                 {number: unix.SYS_PERSONALITY},
		"prlimit of itself":           {unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NOFILE, 1}},
		"prlimit of another process":  {unix.SYS_PRLIMIT64, [6]uintptr{1, unix.RLIMIT_NOFILE}},
		"memfd_create":                {number: unix.SYS_MEMFD_CREATE},
		"mknodat":                     {number: unix.SYS_MKNODAT},
		"fchownat":                    {number: unix.SYS_FCHOWNAT},
		"memory to write and execute": {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_WRITE | unix.PROT_EXEC, anonymous, ^uintptr(0)}},
		"pkey_mprotect":               {number: unix.SYS_PKEY_MPROTECT},
		"a listener for system calls": {unix.SYS_SECCOMP, [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}},
		"typing into a terminal":      {unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCSTI}},
		"the same with high bits":     {unix.SYS_IOCTL, [6]uintptr{0, 1<<32 | unix.TIOCSTI}},
		"syslog":                      {number: unix.SYS_SYSLOG},
		"reboot":                      {number: unix.SYS_REBOOT},
		"sethostname":                 {number: unix.SYS_SETHOSTNAME},
		"settimeofday":                {number: unix.SYS_SETTIMEOFDAY},
		"swapon":                      {number: unix.SYS_SWAPON},
		"quotactl":                    {number: unix.SYS_QUOTACTL},
		"acct":                        {number: unix.SYS_ACCT},
	}
	var names []string
	var probes []probe
	for name, p := range refused {
		names, probes = append(names, name), append(probes, p)
	}
	for i, errno := range under(t, "sandbox", probes) {
		if errno != unix.EPERM {
			t.Errorf("%s: errno %v, want EPERM", names[i], errno)
		}
	}
}

func TestSandboxAllows(t *testing.T) {
	page := uintptr(os.Getpagesize())
	const anonymous = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	allowed := map[string]probe{
		"memory to write":          {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_READ | unix.PROT_WRITE, anonymous, ^uintptr(0)}},
		"memory to execute":        {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_READ | unix.PROT_EXEC, anonymous, ^uintptr(0)}},
		"its limits":               {unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NOFILE}},
		"duplicating a descriptor": {unix.SYS_FCNTL, [6]uintptr{2, unix.F_DUPFD_CLOEXEC, 50}},
		"the clock":                {unix.SYS_CLOCK_GETRES, [6]uintptr{unix.CLOCK_MONOTONIC}},
		"yielding":                 {number: unix.SYS_SCHED_YIELD},
	}
	var names []string
	var probes []probe
	for name, p := range allowed {
		names, probes = append(names, name), append(probes, p)
	}
	for i, errno := range under(t, "sandbox", probes) {
		if errno != 0 {
			t.Errorf("%s: errno %v", names[i], errno)
		}
	}
	fallbacks := []probe{{number: unix.SYS_CLONE3}, {number: unix.SYS_OPENAT2}}
	for i, errno := range under(t, "sandbox", fallbacks) {
		if errno != unix.ENOSYS {
			t.Errorf("fallback %d: errno %v, want ENOSYS", i, errno)
		}
	}
}

func TestInstallAfterTheKernelRefuses(t *testing.T) {
	bad := []unix.SockFilter{{Code: unix.BPF_JMP | unix.BPF_JA, K: 100}}
	if err := Install(bad, 0); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EACCES) {
		t.Errorf("got %v", err)
	}
	if err := Install(nil, 0); err == nil {
		t.Error("an empty filter was installed")
	}
}
