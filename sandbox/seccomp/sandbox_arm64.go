package seccomp

import "golang.org/x/sys/unix"

// nativeCalls are those that only this architecture has, or names so.
var nativeCalls = []uint32{unix.SYS_FSTATAT}
