package seccomp

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// foreignNumbers ends calls of the x32 interface, which have the same
// architecture and numbers with this bit set.
var foreignNumbers = program{
	jump(unix.BPF_JSET, 0x40000000, 0, 1),
	ret(kill),
}
