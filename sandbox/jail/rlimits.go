package jail

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var rlimitTypes = map[string]int{
	"RLIMIT_AS":         unix.RLIMIT_AS,
	"RLIMIT_CORE":       unix.RLIMIT_CORE,
	"RLIMIT_CPU":        unix.RLIMIT_CPU,
	"RLIMIT_DATA":       unix.RLIMIT_DATA,
	"RLIMIT_FSIZE":      unix.RLIMIT_FSIZE,
	"RLIMIT_LOCKS":      unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK":    unix.RLIMIT_MEMLOCK,
	"RLIMIT_MSGQUEUE":   unix.RLIMIT_MSGQUEUE,
	"RLIMIT_NICE":       unix.RLIMIT_NICE,
	"RLIMIT_NOFILE":     unix.RLIMIT_NOFILE,
	"RLIMIT_NPROC":      unix.RLIMIT_NPROC,
	"RLIMIT_RSS":        unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO":     unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME":     unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_STACK":      unix.RLIMIT_STACK,
}

func checkRlimits(s *specs.Spec) error {
	seen := map[string]bool{}
	for i, r := range s.Process.Rlimits {
		field := fmt.Sprintf("process.rlimits[%d]", i)
		_, known := rlimitTypes[r.Type]
		switch {
		case !known:
			return fmt.Errorf("%s: %q is no type of resource limit", field, r.Type)
		case seen[r.Type]:
			return fmt.Errorf("%s: %s is listed twice", field, r.Type)
		case r.Soft > r.Hard:
			return fmt.Errorf("%s: the soft limit %d of %s is above the hard limit %d", field, r.Soft, r.Type, r.Hard)
		}
		seen[r.Type] = true
	}
	return nil
}

// setRlimits needs CAP_SYS_RESOURCE to raise a hard limit. Where that is
// missing, a limit that the container asked for and would not have is an error.
func setRlimits(limits []specs.POSIXRlimit) error {
	for i, r := range limits {
		kind := rlimitTypes[r.Type]
		var old unix.Rlimit
		if err := unix.Prlimit(0, kind, nil, &old); err != nil {
			return fmt.Errorf("process.rlimits[%d]: %s: %w", i, r.Type, err)
		}
		err := unix.Prlimit(0, kind, &unix.Rlimit{Cur: r.Soft, Max: r.Hard}, nil)
		if err == unix.EPERM && r.Hard > old.Max {
			return fmt.Errorf("process.rlimits[%d]: the hard limit %d of %s is above %d, which is all that the runtime itself may use; lower it, or raise the limit of containerd", i, r.Hard, r.Type, old.Max)
		}
		if err != nil {
			return fmt.Errorf("process.rlimits[%d]: %s: %w", i, r.Type, err)
		}
	}
	return nil
}
