package seccomp

import "golang.org/x/sys/unix"

// nativeCalls are those that only this architecture has, or names so.
var nativeCalls = []uint32{unix.SYS_ARCH_PRCTL, unix.SYS_NEWFSTATAT, unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_SELECT, unix.SYS_TIME}
