// Package wasi is a host of WASI preview 1 and of its predecessor on Linux
// system calls: the modules wasi_snapshot_preview1 and wasi_unstable. What its
// comments call the specification is the witx of both ("preview1" and "preview0"
// of WASI 0.1), with the notes in it.
//
// A guest reaches what its table of descriptors has, and nothing else. Paths are
// resolved by the kernel below the descriptor that they start from (openat2), so
// that neither "..", nor a symbolic link, nor a race leads out. A path that would
// lead out gives PERM. An absolute link means what it means in a Linux container
// where the path starts from a preopened directory; from any other it leads out.
//
// Where the specification leaves a choice, Linux's answer is the one: names are
// bytes and not UTF-8, new files have the modes 0666 and 0777 less the umask, and
// a directory that is opened may always be listed, because Go's library does not
// ask for that right.
//
// One guest calls from one goroutine, whose thread may block in a system call.
// No frequent call allocates: a collection that such a call began would have to
// wait for the guest.
package wasi
