package seccomp

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
