package seccomp

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

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
	os.Exit(run(m))
}

// testProgram is what runs under filters: this one, built without cgo. The C library
// needs calls that Go does not, and the race detector brings it in.
var testProgram = os.Args[0]

func run(m *testing.M) int {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); errno == syscall.ENOTSUP {
		dir, err := os.MkdirTemp("", "seccomp-test")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		testProgram = filepath.Join(dir, "seccomp.test")
		build := exec.Command("go", "test", "-c", "-race=false", "-o", testProgram, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("building the tests without cgo: %v: %s", err, out))
		}
	}
	return m.Run()
}

// tryProbes installs the filter and prints the errno of each probe.
func tryProbes(encoded string, probes []string) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	name, given, _ := strings.Cut(encoded, " ")
	var filter []unix.SockFilter
	var err error
	switch name {
	case "sandbox":
		filter, err = Sandbox(decode(given), false)
	case "listener":
		filter, err = Sandbox(nil, true)
	case "compiler":
		filter, err = Compiler()
	default:
		filter = decode(encoded)
	}
	if err == nil {
		err = Install(filter, 0)
	}
	if err != nil {
		panic(err)
	}
	if len(probes) == 1 && probes[0] == "code" {
		mapCode()
		os.Exit(0)
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

func decode(encoded string) (filter []unix.SockFilter) {
	for text := range strings.FieldsSeq(encoded) {
		var i unix.SockFilter
		if _, err := fmt.Sscanf(text, "%d,%d,%d,%d", &i.Code, &i.Jt, &i.Jf, &i.K); err != nil {
			panic(err)
		}
		filter = append(filter, i)
	}
	return filter
}

// underCommand is the program under a filter, which tries the probe.
func underCommand(filter, probe string, files ...*os.File) *exec.Cmd {
	cmd := exec.Command(testProgram)
	cmd.Env = []string{"SECCOMP_TEST_FILTER=" + filter, "GODEBUG=decoratemappings=0,containermaxprocs=0,updatemaxprocs=0"}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	if probe != "" {
		cmd.Args = append(cmd.Args, probe)
	}
	return cmd
}

// under tries the probes in a process under the filter and returns their errnos.
func under(t *testing.T, filter string, probes []probe) []unix.Errno {
	t.Helper()
	cmd := underCommand(filter, "")
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

// refused are calls of every kind that no sandbox and no compiler may make.
var refused = map[string]probe{
	"execve":                      {number: unix.SYS_EXECVE},
	"execveat":                    {number: unix.SYS_EXECVEAT},
	"a process by clone":          {unix.SYS_CLONE, [6]uintptr{uintptr(unix.SIGCHLD)}},
	"a namespace by clone":        {unix.SYS_CLONE, [6]uintptr{threadFlags | unix.CLONE_NEWUSER}},
	"a pidfd by clone":            {unix.SYS_CLONE, [6]uintptr{threadFlags | unix.CLONE_PIDFD}},
	"a namespace by high bits":    {unix.SYS_CLONE, [6]uintptr{threadFlags | 1<<32}},
	"clone3":                      {number: unix.SYS_CLONE3},
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
	"chdir":                       {number: unix.SYS_CHDIR},
	"open_tree":                   {number: unix.SYS_OPEN_TREE},
	"move_mount":                  {number: unix.SYS_MOVE_MOUNT},
	"fsopen":                      {number: unix.SYS_FSOPEN},
	"openat":                      {number: unix.SYS_OPENAT},
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
	"a pair of sockets":           {unix.SYS_SOCKETPAIR, [6]uintptr{unix.AF_UNIX, unix.SOCK_STREAM}},
	"setuid":                      {number: unix.SYS_SETUID},
	"capset":                      {number: unix.SYS_CAPSET},
	"prctl":                       {unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_DUMPABLE, 1}},
	"personality":                 {number: unix.SYS_PERSONALITY},
	"prlimit of itself":           {unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_NOFILE, 1}},
	"prlimit of another process":  {unix.SYS_PRLIMIT64, [6]uintptr{1, unix.RLIMIT_NOFILE}},
	"memfd_create":                {number: unix.SYS_MEMFD_CREATE},
	"mknodat":                     {number: unix.SYS_MKNODAT},
	"fchownat":                    {number: unix.SYS_FCHOWNAT},
	"fchmodat":                    {number: unix.SYS_FCHMODAT},
	"fsetxattr":                   {number: unix.SYS_FSETXATTR},
	"memory to write and execute": {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_WRITE | unix.PROT_EXEC, anonymous, ^uintptr(0)}},
	"mapping to execute":          {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_READ | unix.PROT_EXEC, anonymous, ^uintptr(0)}},
	"a file to write and execute": {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC, unix.MAP_PRIVATE, 0}},
	"a shared file to execute":    {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_SHARED, 0}},
	"shared memory":               {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_READ, unix.MAP_SHARED | unix.MAP_ANONYMOUS, ^uintptr(0)}},
	"execute and write":           {unix.SYS_MPROTECT, [6]uintptr{0, 0, unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC}},
	"execute alone":               {unix.SYS_MPROTECT, [6]uintptr{0, 0, unix.PROT_EXEC}},
	"mremap":                      {number: unix.SYS_MREMAP},
	"remap_file_pages":            {number: unix.SYS_REMAP_FILE_PAGES},
	"pkey_mprotect":               {number: unix.SYS_PKEY_MPROTECT},
	"poisoning memory":            {unix.SYS_MADVISE, [6]uintptr{0, 0, unix.MADV_HWPOISON}},
	"shared futexes":              {unix.SYS_FUTEX, [6]uintptr{0, 1}},
	"futexes with owners":         {unix.SYS_FUTEX, [6]uintptr{0, 6 | 128}},
	"another filter":              {unix.SYS_SECCOMP, [6]uintptr{unix.SECCOMP_SET_MODE_FILTER}},
	"a listener for system calls": {unix.SYS_SECCOMP, [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}},
	"a terminal's settings":       {unix.SYS_IOCTL, [6]uintptr{0, unix.TCGETS}},
	"typing into a terminal":      {unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCSTI}},
	"a descriptor's owner":        {unix.SYS_FCNTL, [6]uintptr{0, unix.F_SETOWN, 1}},
	"duplicating a descriptor":    {unix.SYS_FCNTL, [6]uintptr{2, unix.F_DUPFD_CLOEXEC, 50}},
	"syslog":                      {number: unix.SYS_SYSLOG},
	"reboot":                      {number: unix.SYS_REBOOT},
	"sethostname":                 {number: unix.SYS_SETHOSTNAME},
	"settimeofday":                {number: unix.SYS_SETTIMEOFDAY},
	"swapon":                      {number: unix.SYS_SWAPON},
	"quotactl":                    {number: unix.SYS_QUOTACTL},
	"acct":                        {number: unix.SYS_ACCT},
}

var page = uintptr(os.Getpagesize())

const anonymous = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS

// byPath are calls that a sandbox may make and a compiler may not.
var byPath = map[string]probe{
	"openat2":    {number: unix.SYS_OPENAT2},
	"readlinkat": {number: unix.SYS_READLINKAT},
	"unlinkat":   {number: unix.SYS_UNLINKAT},
	"mkdirat":    {number: unix.SYS_MKDIRAT},
}

// byConnection are calls that a sandbox may make that listens, here on no descriptor.
var byConnection = map[string]probe{
	"accept4":  {unix.SYS_ACCEPT4, [6]uintptr{^uintptr(0)}},
	"recvfrom": {unix.SYS_RECVFROM, [6]uintptr{^uintptr(0)}},
	"shutdown": {unix.SYS_SHUTDOWN, [6]uintptr{^uintptr(0)}},
}

// allowed are calls that a process makes under either filter.
var allowed = map[string]probe{
	"memory to write":      {unix.SYS_MMAP, [6]uintptr{0, page, unix.PROT_READ | unix.PROT_WRITE, anonymous, ^uintptr(0)}},
	"memory to read":       {unix.SYS_MPROTECT, [6]uintptr{0, 0, unix.PROT_READ}},
	"code to execute":      {unix.SYS_MPROTECT, [6]uintptr{0, 0, unix.PROT_READ | unix.PROT_EXEC}},
	"memory to give up":    {unix.SYS_MADVISE, [6]uintptr{0, 0, unix.MADV_DONTNEED}},
	"a descriptor's flags": {unix.SYS_FCNTL, [6]uintptr{2, unix.F_GETFL}},
	"waking a thread":      {unix.SYS_FUTEX, [6]uintptr{page &^ 3, futexWakePrivate}},
	"yielding":             {number: unix.SYS_SCHED_YIELD},
}

// answers tries the probes under the filter and compares what the kernel says.
func answers(t *testing.T, filter string, tried map[string]probe, right func(unix.Errno) bool) {
	t.Helper()
	names := slices.Sorted(maps.Keys(tried))
	var probes []probe
	for _, name := range names {
		probes = append(probes, tried[name])
	}
	for i, errno := range under(t, filter, probes) {
		if !right(errno) {
			t.Errorf("%s: errno %d (%v)", names[i], int(errno), errno)
		}
	}
}

func TestRefuses(t *testing.T) {
	eperm := func(errno unix.Errno) bool { return errno == unix.EPERM }
	for _, filter := range []string{"sandbox", "compiler"} {
		t.Run(filter, func(t *testing.T) { answers(t, filter, refused, eperm) })
	}
	answers(t, "compiler", byPath, eperm)
	answers(t, "listener", refused, eperm)
	answers(t, "sandbox", byConnection, eperm)
}

func TestAllows(t *testing.T) {
	for _, filter := range []string{"sandbox", "compiler"} {
		t.Run(filter, func(t *testing.T) {
			answers(t, filter, allowed, func(errno unix.Errno) bool { return errno == 0 })
		})
	}
	answers(t, "listener", byConnection, func(errno unix.Errno) bool { return errno == unix.EBADF })
	// The kernel was asked, and found that a name at address 0 is none.
	answers(t, "sandbox", byPath, func(errno unix.Errno) bool { return errno == unix.EFAULT || errno == unix.EINVAL })
}

// TestCodeFromAFile maps a file's code, over memory, in both ways in which code
// can become executable.
func TestCodeFromAFile(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(int64(page)); err != nil {
		t.Fatal(err)
	}
	for _, filter := range []string{"sandbox", "compiler"} {
		if out, err := underCommand(filter, "code", file).Output(); err != nil || string(out) != "executable\n" {
			t.Errorf("%s: %q, %v", filter, out, err)
		}
	}
}

// mapCode is TestCodeFromAFile's process.
func mapCode() {
	at, err := unix.MmapPtr(-1, 0, nil, page, unix.PROT_READ|unix.PROT_WRITE, anonymous)
	if err == nil {
		_, err = unix.MmapPtr(3, 0, at, page, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_FIXED)
	}
	if err == nil {
		_, err = unix.MmapPtr(3, 0, at, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	}
	if err == nil {
		err = unix.Mprotect(unsafe.Slice((*byte)(at), page), unix.PROT_READ|unix.PROT_EXEC)
	}
	if err != nil {
		panic(err)
	}
	fmt.Println("executable")
}

// TestFurtherFilter has a call that each of two filters refuses, one that the
// second refuses, and one that neither does.
func TestFurtherFilter(t *testing.T) {
	further := assemble(t, []Rule{
		{Number: unix.SYS_GETTID, Action: Deny(matched)},
		{Number: unix.SYS_REBOOT, Action: Deny(matched)},
		{Number: unix.SYS_GETPID, Conditions: []Condition{{Index: 0, Value: 5}}, Action: Deny(matched)},
	}, Allow)
	probes := []probe{{number: unix.SYS_REBOOT}, {number: unix.SYS_GETTID}, {unix.SYS_GETPID, [6]uintptr{5}}, {number: unix.SYS_GETPID}}
	want := []unix.Errno{unix.EPERM, matched, matched, 0}
	if got := under(t, "sandbox "+further, probes); !slices.Equal(got, want) {
		t.Errorf("errnos %v, want %v", got, want)
	}
	many := make([]unix.SockFilter, maxInstructions)
	if _, err := Sandbox(many, false); err == nil || !strings.Contains(err.Error(), "use fewer rules") {
		t.Errorf("two filters that are too long together: %v", err)
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
