package jail

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Validate names the first field of the spec that asks for something that
// sandboxes do not do, or that contradicts itself. It runs in the parent, in the
// host's namespaces, and looks at the spec and at the namespace files in it. The
// other functions of this package expect a spec that Validate has passed.
func Validate(spec *specs.Spec) error {
	checks := []func(*specs.Spec) error{
		checkSections, checkUnsupported, checkProcess, checkHost,
		func(s *specs.Spec) error { _, _, err := Namespaces(s); return err },
		checkUserNamespace, checkRlimits, checkMounts, checkDevices, checkSysctls, checkPaths,
	}
	for _, check := range checks {
		if err := check(spec); err != nil {
			return err
		}
	}
	return nil
}

func checkSections(s *specs.Spec) error {
	switch {
	case s.Version != "" && !strings.HasPrefix(s.Version, "1."):
		return fmt.Errorf("ociVersion: %q is not a version 1 of the runtime spec", s.Version)
	case s.Process == nil:
		return fmt.Errorf("process: missing")
	case s.Root == nil:
		return fmt.Errorf("root: missing")
	case s.Linux == nil:
		return fmt.Errorf("linux: missing")
	}
	return nil
}

// checkUnsupported finds what no sandbox does.
func checkUnsupported(s *specs.Spec) error {
	p, l := s.Process, s.Linux
	hooks := s.Hooks
	if hooks == nil {
		hooks = &specs.Hooks{}
	}
	for _, f := range []struct {
		name  string
		asked bool
		why   string
	}{
		{"solaris", s.Solaris != nil, "this runtime makes Linux containers only"},
		{"windows", s.Windows != nil, "this runtime makes Linux containers only"},
		{"vm", s.VM != nil, "this runtime makes Linux containers only"},
		{"zos", s.ZOS != nil, "this runtime makes Linux containers only"},
		{"freebsd", s.FreeBSD != nil, "this runtime makes Linux containers only"},
		{"process.commandLine", p.CommandLine != "", "this runtime makes Linux containers only; use process.args"},
		{"process.user.username", p.User.Username != "", "this runtime makes Linux containers only; use process.user.uid"},
		{"hooks.prestart", len(hooks.Prestart) > 0, "hooks are not supported"}, //nolint:staticcheck // refused, not used
		{"hooks.createRuntime", len(hooks.CreateRuntime) > 0, "hooks are not supported"},
		{"hooks.createContainer", len(hooks.CreateContainer) > 0, "hooks are not supported"},
		{"hooks.startContainer", len(hooks.StartContainer) > 0, "hooks are not supported"},
		{"hooks.poststart", len(hooks.Poststart) > 0, "hooks are not supported"},
		{"hooks.poststop", len(hooks.Poststop) > 0, "hooks are not supported"},
		{"process.apparmorProfile", p.ApparmorProfile != "" && p.ApparmorProfile != "unconfined", "AppArmor profiles are not supported; run the container unconfined"},
		{"process.selinuxLabel", p.SelinuxLabel != "", "SELinux labels are not supported; disable labelling for the container"},
		{"process.scheduler", p.Scheduler != nil, "scheduling attributes are not supported; use linux.resources.cpu"},
		{"process.ioPriority", p.IOPriority != nil, "I/O priorities are not supported; use linux.resources.blockIO"},
		{"process.execCPUAffinity", p.ExecCPUAffinity != nil, "CPU affinities are not supported; use linux.resources.cpu.cpus"},
		{"linux.mountLabel", l.MountLabel != "", "SELinux labels are not supported; disable labelling for the container"},
		{"linux.intelRdt", l.IntelRdt != nil, "Intel RDT is not supported"},
		{"linux.memoryPolicy", l.MemoryPolicy != nil, "NUMA memory policies are not supported; use linux.resources.cpu.mems"},
		{"linux.netDevices", len(l.NetDevices) > 0, "moving network devices is not supported"},
		{"linux.personality", l.Personality != nil, "execution domains are not supported"},
		{"linux.timeOffsets", len(l.TimeOffsets) > 0, "clocks of its own are not supported; the container has the host's"},
	} {
		if f.asked {
			return fmt.Errorf("%s: %s", f.name, f.why)
		}
	}
	return nil
}

func checkProcess(s *specs.Spec) error {
	p := s.Process
	if len(p.Args) == 0 || p.Args[0] == "" {
		return fmt.Errorf("process.args: missing; the first argument names the module")
	}
	for i, arg := range p.Args {
		if strings.Contains(arg, "\x00") {
			return fmt.Errorf("process.args[%d]: contains a NUL byte", i)
		}
	}
	for i, entry := range p.Env {
		if name, _, ok := strings.Cut(entry, "="); !ok || name == "" || strings.Contains(entry, "\x00") {
			return fmt.Errorf("process.env[%d]: %q is not of the form NAME=value", i, entry)
		}
	}
	if err := checkPath("process.cwd", p.Cwd); err != nil {
		return err
	}
	// To setresuid(2), setgroups(2) and chown(2) this number means "leave it".
	const nobody = 1<<32 - 1
	switch {
	case p.User.UID == nobody:
		return fmt.Errorf("process.user.uid: %d is not a user id", p.User.UID)
	case p.User.GID == nobody:
		return fmt.Errorf("process.user.gid: %d is not a group id", p.User.GID)
	case slices.Contains(p.User.AdditionalGids, nobody):
		return fmt.Errorf("process.user.additionalGids: %d is not a group id", uint32(nobody))
	case p.User.Umask != nil && *p.User.Umask > 0o777:
		return fmt.Errorf("process.user.umask: %#o has more than the nine permission bits", *p.User.Umask)
	}
	return nil
}

func checkHost(s *specs.Spec) error {
	listed := false
	for _, n := range s.Linux.Namespaces {
		listed = listed || n.Type == specs.UTSNamespace
	}
	switch {
	case listed:
	case s.Hostname != "":
		return fmt.Errorf("hostname: needs linux.namespaces[uts], or it would rename the host")
	case s.Domainname != "":
		return fmt.Errorf("domainname: needs linux.namespaces[uts], or it would rename the host")
	}
	return nil
}

// checkUserNamespace finds identities that a new user namespace does not know.
func checkUserNamespace(s *specs.Spec) error {
	l, u := s.Linux, s.Process.User
	listed, created := namespace(s, specs.UserNamespace)
	if !listed {
		if len(l.UIDMappings) > 0 || len(l.GIDMappings) > 0 {
			return fmt.Errorf("linux.uidMappings and linux.gidMappings: need linux.namespaces[user]")
		}
		return nil
	}
	if !created {
		return nil
	}
	if err := checkMapped("linux.uidMappings", l.UIDMappings, "process.user.uid", u.UID); err != nil {
		return err
	}
	return checkMapped("linux.gidMappings", l.GIDMappings, "process.user.gid and additionalGids", append([]uint32{u.GID}, u.AdditionalGids...)...)
}

func checkMapped(field string, mappings []specs.LinuxIDMapping, who string, ids ...uint32) error {
	// user_namespaces(7), "Defining user and group ID mappings".
	const maxMappings = 340
	if len(mappings) == 0 || len(mappings) > maxMappings {
		return fmt.Errorf("%s: a new user namespace takes 1 to %d mappings, not %d", field, maxMappings, len(mappings))
	}
	mapped := func(id uint32) bool {
		return slices.ContainsFunc(mappings, func(m specs.LinuxIDMapping) bool {
			return id >= m.ContainerID && uint64(id) < uint64(m.ContainerID)+uint64(m.Size)
		})
	}
	if !mapped(0) {
		return fmt.Errorf("%s: id 0 of the container is not mapped, and it is needed to set the container up", field)
	}
	for _, id := range ids {
		if !mapped(id) {
			return fmt.Errorf("%s: id %d is not in %s", who, id, field)
		}
	}
	return nil
}

func checkPaths(s *specs.Spec) error {
	for i, path := range s.Linux.MaskedPaths {
		if err := checkPath(fmt.Sprintf("linux.maskedPaths[%d]", i), path); err != nil {
			return err
		}
	}
	for i, path := range s.Linux.ReadonlyPaths {
		if err := checkPath(fmt.Sprintf("linux.readonlyPaths[%d]", i), path); err != nil {
			return err
		}
	}
	if p := s.Linux.RootfsPropagation; p != "" {
		if _, ok := propagations[p]; !ok {
			return fmt.Errorf("linux.rootfsPropagation: %q is none of shared, slave, private and unbindable", p)
		}
	}
	return nil
}

func checkPath(field, path string) error {
	switch {
	case !filepath.IsAbs(path):
		return fmt.Errorf("%s: %q is not an absolute path", field, path)
	case strings.Contains(path, "\x00"):
		return fmt.Errorf("%s: %q contains a NUL byte", field, path)
	}
	return nil
}
