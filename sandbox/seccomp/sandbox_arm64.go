package seccomp

import "golang.org/x/sys/unix"

// statAt is fstatat(2), by this architecture's name.
const statAt = unix.SYS_FSTATAT
