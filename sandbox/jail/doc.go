// Package jail turns the calling process, already in the namespaces of the
// container, into the container: mounts, devices, root file system, privileges.
//
// The parent calls Validate and Namespaces, and Bind for what IsGiven says; the
// process that becomes the container calls EnterRootfs and then DropPrivileges,
// once each, and opens nothing of the host in between. Both act on the whole process and must not
// run beside anything else in it.
//
// Linux 5.12 or newer is needed. Every mount is built detached from any tree
// (fsopen(2), open_tree(2)), gets all its attributes there (mount_setattr(2)),
// and is only then attached to a mount point that openat2(2) resolved with
// RESOLVE_IN_ROOT. So a path is resolved once, the kernel keeps it inside the
// root file system whatever links an image holds, and no mount is ever visible
// without its read-only flag.
//
// What a spec (OCI runtime-spec 1.3.0) asks for is done, is somebody else's, is
// an error of Validate, or has no meaning for a WebAssembly guest.
//
// Somebody else's: process.terminal, process.consoleSize, process.oomScoreAdj,
// root.path, annotations, linux.cgroupsPath, linux.resources and linux.seccomp
// belong to the callers, process.args and process.env to the engine.
//
// Without meaning, and therefore accepted as they are:
//   - process.capabilities: a guest makes no system calls of its own, so the
//     process that runs it keeps no capability at all.
//   - process.noNewPrivileges: always set, for the same reason.
//   - the mount option rw of procfs, which is always read-only: a process can
//     write to its own memory there, and the guest's process must not.
//   - "shared" propagation of a mount towards the host: no process of the
//     container can mount anything, so nothing could ever propagate. Mounts
//     that the host makes below a shared or slave mount do arrive.
//   - the mount options exec and suid: a guest executes nothing, so all mounts
//     are noexec and nosuid. Device nodes work below /dev, and on mounts with the
//     option dev.
//   - a time namespace without linux.timeOffsets, which Docker asks for: its
//     clocks are the host's, and no process of the container can set them.
//   - the mount options silent and loud: there is nobody to read kernel messages.
package jail
