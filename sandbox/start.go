package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/jail"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
	"github.com/moby/sys/userns"
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
	// And the Go runtime shall not look for a processor limit, for which it opens
	// the host's cgroup files and keeps them open, nor name its mappings, which
	// takes system calls that the sandbox's filter does not know.
	"GODEBUG=asyncpreemptoff=1,containermaxprocs=0,updatemaxprocs=0,decoratemappings=0",
}

// programDir opens the folder of the sandbox process's program. It is a read-only
// mount, because a guest gets at the file by which it is executed, /proc/self/exe,
// and that is a file of the host which belongs to user 0.
var programDir = sync.OnceValues(func() (*os.File, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(filepath.Dir(self), programName)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s must be beside %s: install both programs in one folder: %w", programName, self, err)
	}
	return jail.OpenReadonly(filepath.Dir(self))
})

// inDir is the path of a file below an open folder.
func inDir(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// start starts the process with the namespaces of the spec, new ones by clone
// flags and given ones by joining them. The pidfd is -1 where the kernel has none.
func start(cfg *Config, name string, control *os.File) (pid, pidfd int, err error) {
	dir, err := programDir()
	if err != nil {
		return 0, -1, err
	}
	cloneFlags, join, err := namespacesFor(cfg)
	if err != nil {
		return 0, -1, err
	}
	defer func() { join.close() }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, -1, err
	}
	defer null.Close()

	var files []uintptr
	for _, file := range []*os.File{cfg.Stdin, cfg.Stdout, cfg.Stderr, control} {
		if file == nil {
			file = null
		}
		files = append(files, file.Fd())
	}
	cgroup := cfg.cgroup()
	// The name says what the process is; the other arguments are only what ps shows.
	argv := append([]string{name}, cfg.Module.Args...)

	// Where there is a controlling terminal, it is descriptor 0.
	sys := &syscall.SysProcAttr{Cloneflags: cloneFlags, Setctty: cfg.Terminal}
	if cloneFlags&syscall.CLONE_NEWUSER != 0 {
		sys.UidMappings = idMappings(cfg.Spec.Linux.UIDMappings)
		sys.GidMappings = idMappings(cfg.Spec.Linux.GIDMappings)
		sys.GidMappingsEnableSetgroups = true
		sys.Credential = &syscall.Credential{}
	}
	fork := func() (err error) {
		pid, pidfd, err = forkExec(dir, argv, environment, files, sys, cgroup)
		return err
	}
	user, joinsUser := join.take(syscall.CLONE_NEWUSER)
	mount, joinsMount := join.take(syscall.CLONE_NEWNS)
	defer user.close()
	defer mount.close()
	if joinsUser || joinsMount {
		program, err := os.Open(inDir(dir, programName))
		if err != nil {
			return 0, -1, err
		}
		defer program.Close()
		fork = func() (err error) {
			pid, pidfd, err = joinExec(inside{
				program:  program,
				argv:     argv,
				env:      environment,
				files:    files,
				terminal: cfg.Terminal,
				user:     user.fd(),
				mount:    mount.fd(),
				unshare:  cloneFlags &^ syscall.CLONE_NEWPID,
				newPID:   cloneFlags&syscall.CLONE_NEWPID != 0,
				cgroup:   cgroup,
			})
			return err
		}
	}
	err = onForkThread(join, func() error {
		if err := fork(); err != nil {
			return fmt.Errorf("starting %s: %w", filepath.Join(dir.Name(), programName), err)
		}
		return nil
	})
	return pid, pidfd, err
}

// namespacesFor says which namespaces the process gets new and which it joins.
// The caller closes the latter.
func namespacesFor(cfg *Config) (cloneFlags uintptr, join namespaces, err error) {
	if cfg.Inside != nil {
		join, err = cfg.Inside.namespaces()
		return 0, join, err
	}
	cloneFlags, joins, err := jail.Namespaces(cfg.Spec)
	if err != nil {
		return 0, nil, err
	}
	join, err = openNamespaces(joins)
	return cloneFlags, join, err
}

// cgroup is the descriptor of the directory to be born in, or -1.
func (cfg *Config) cgroup() int {
	if cfg.CgroupDir == nil {
		return -1
	}
	return int(cfg.CgroupDir.Fd())
}

// startCompiler starts a process that compiles, in namespaces of its own, with
// the descriptors that wire says.
func startCompiler(cfg *Config, control, module, to *os.File) (pid, pidfd int, err error) {
	dir, err := programDir()
	if err != nil {
		return 0, -1, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, -1, err
	}
	defer null.Close()
	// More threads than this take more memory than time.
	threads := min(runtime.NumCPU(), 4)
	env := []string{fmt.Sprintf("GOMAXPROCS=%d", threads), "GODEBUG=containermaxprocs=0,updatemaxprocs=0,decoratemappings=0"}
	files := []uintptr{null.Fd(), null.Fd(), null.Fd(), wire.ControlFD: control.Fd(), wire.ModuleFD: module.Fd(), wire.ArtifactFD: to.Fd()}
	sys := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	err = onForkThread(nil, func() (err error) {
		pid, pidfd, err = forkExec(dir, []string{wire.Compiler}, env, files, sys, cfg.cgroup())
		if err != nil {
			return fmt.Errorf("starting %s: %w", filepath.Join(dir.Name(), programName), err)
		}
		return nil
	})
	return pid, pidfd, err
}

// forkExec starts a process. It must run on the fork thread.
func forkExec(dir *os.File, argv, env []string, files []uintptr, sys *syscall.SysProcAttr, cgroup int) (pid, pidfd int, err error) {
	pidfd = -1
	sys.PidFD, sys.Setsid = &pidfd, true
	if cgroup >= 0 {
		sys.UseCgroupFD, sys.CgroupFD = true, cgroup
	}
	// The child goes into the folder first, and then moves descriptors, which may
	// take that of the folder. It leaves when it enters its root file system.
	attr := &syscall.ProcAttr{Dir: inDir(dir, "."), Env: env, Files: files, Sys: sys}
	pid, err = syscall.ForkExec(programName, argv, attr)
	return pid, pidfd, explainFork(err, sys)
}

// explainFork names what the kernel most likely refused, where this process is in
// a user namespace itself.
func explainFork(err error, sys *syscall.SysProcAttr) error {
	switch {
	case err == nil || !userns.RunningInUserNS():
		return err
	case err == syscall.EPERM && len(sys.UidMappings) > 0:
		return fmt.Errorf("linux.uidMappings and linux.gidMappings: %w; containerd is in a user namespace, and only ids that exist in it can be mapped", err)
	case sys.UseCgroupFD && (err == syscall.EACCES || err == syscall.EBUSY || err == syscall.EOPNOTSUPP):
		return fmt.Errorf("linux.cgroupsPath: the process cannot begin in its control group: %w; that must have been delegated to the user, and containerd be in a group below the same one", err)
	}
	return err
}

func idMappings(mappings []specs.LinuxIDMapping) []syscall.SysProcIDMap {
	var result []syscall.SysProcIDMap
	for _, m := range mappings {
		result = append(result, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	return result
}
