package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// programName is the file name of the sandbox process's program, which stands
// beside the shim's.
const programName = "wasm-sandbox"

// environment is what the sandbox process itself runs with: nothing of what
// containerd gave the shim, some of which (GOMAXPROCS) would change it, and
// some of which is nobody's business inside a container.
var environment = []string{
	// One guest computes on one thread. More would only cost memory.
	"GOMAXPROCS=1",
	// Compiled guest code cannot be preempted: asking it to stop only costs time.
	"GODEBUG=asyncpreemptoff=1",
}

// program returns the path of the sandbox process's program.
var program = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), programName)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s must be beside %s: install both programs in one folder: %w", programName, self, err)
	}
	return path, nil
})

// start starts the process with the namespaces of the spec, new ones by clone
// flags and given ones by joining them. The pidfd is -1 where the kernel has none.
func start(cfg *Config, control *os.File) (pid, pidfd int, err error) {
	path, err := program()
	if err != nil {
		return 0, -1, err
	}
	cloneFlags, joins, err := jail.Namespaces(cfg.Spec)
	if err != nil {
		return 0, -1, err
	}
	join, err := openNamespaces(joins)
	if err != nil {
		return 0, -1, err
	}
	defer join.close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, -1, err
	}
	defer null.Close()

	pidfd = -1
	attr := &syscall.ProcAttr{
		Dir: "/",
		Env: environment,
		Sys: &syscall.SysProcAttr{
			Cloneflags: cloneFlags,
			Setsid:     true,
			PidFD:      &pidfd,
		},
	}
	for _, file := range []*os.File{cfg.Stdin, cfg.Stdout, cfg.Stderr, control} {
		if file == nil {
			file = null
		}
		attr.Files = append(attr.Files, file.Fd())
	}
	if cfg.CgroupDir != nil {
		attr.Sys.UseCgroupFD = true
		attr.Sys.CgroupFD = int(cfg.CgroupDir.Fd())
	}
	if cloneFlags&syscall.CLONE_NEWUSER != 0 {
		attr.Sys.UidMappings = idMappings(cfg.Spec.Linux.UIDMappings)
		attr.Sys.GidMappings = idMappings(cfg.Spec.Linux.GIDMappings)
		attr.Sys.GidMappingsEnableSetgroups = true
		attr.Sys.Credential = &syscall.Credential{}
	}
	// The arguments are only what ps shows.
	argv := append([]string{programName}, cfg.Module.Args...)
	err = onForkThread(join, func() (err error) {
		if pid, err = syscall.ForkExec(path, argv, attr); err != nil {
			return fmt.Errorf("starting %s: %w", path, err)
		}
		return nil
	})
	return pid, pidfd, err
}

func idMappings(mappings []specs.LinuxIDMapping) []syscall.SysProcIDMap {
	var result []syscall.SysProcIDMap
	for _, m := range mappings {
		result = append(result, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return result
}
