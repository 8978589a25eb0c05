package kubernetes

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// inside is the number of a container's first process in its own PID namespace.
func (p pod) inside(t testing.TB, container string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.processes(t, container)[0]))
	if err != nil {
		t.Fatal(err)
	}
	numbers := strings.Fields(field(string(data), "NSpid"))
	return numbers[len(numbers)-1]
}

// shim is the process that runs a container: the parent of its first one.
func (p pod) shim(t testing.TB, container string) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.processes(t, container)[0]))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(field(string(data), "PPid"), &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func owner(info os.FileInfo) (uid, gid uint32) {
	s := info.Sys().(*syscall.Stat_t)
	return s.Uid, s.Gid
}
