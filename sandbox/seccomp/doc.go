// Package seccomp keeps a sandbox process to the system calls that it needs: it
// assembles filters for the kernel (seccomp(2)), has the one that every sandbox
// gets, and installs them.
//
// Package profile below it, which the parent alone pays for, translates
// linux.seccomp of the runtime spec.
package seccomp
