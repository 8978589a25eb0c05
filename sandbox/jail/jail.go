// Package jail turns the calling process, already in the namespaces of the
// container, into the container: mounts, root file system, privileges.
package jail

import (
	"errors"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var errTODO = errors.New("not written yet")

// Validate names the first field of the spec that asks for something that
// sandboxes do not do. It only looks at the spec, and runs in the parent.
func Validate(spec *specs.Spec) error { return errTODO }

// EnterRootfs makes the mounts, devices, host name and sysctls of the spec and
// leaves the process in the container's root file system.
func EnterRootfs(spec *specs.Spec, rootfs string) error { return errTODO }

// DropPrivileges gives up everything that the guest shall not have, on every
// thread of the process: after it the process has the spec's user, rlimits and
// working directory, no capability, and no way to new privileges.
func DropPrivileges(spec *specs.Spec) error { return errTODO }
