package docker

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

type failer interface {
	Errorf(format string, args ...any)
}

// words are a text's, one space apart, and sorted has them in order.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

func sorted(text string) string {
	all := strings.Fields(text)
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(b, a) })
	return strings.Join(all, " ")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func owner(t *testing.T, file string) string {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Error(err)
		return ""
	}
	return strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid))
}

func procFile(t *testing.T, pid, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", pid, name))
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// limitsOf are the memory in bytes, the CPUs, the processes and the set of CPUs
// that a container may have, out of its control group.
func limitsOf(r runner) string {
	groups := map[string]string{} // by controller; of version 2 the one is ""
	for line := range strings.Lines(procFile(r.T, r.inspect(".State.Pid"), "cgroup")) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			for _, controller := range strings.Split(parts[1], ",") {
				groups[controller] = parts[2]
			}
		}
	}
	read := func(controller, v1, v2 string) string {
		file := filepath.Join("/sys/fs/cgroup", controller, groups[controller], v1)
		if groups[controller] == "" {
			file = filepath.Join("/sys/fs/cgroup", groups[""], v2)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			r.Error(err)
		}
		return strings.TrimSpace(string(data))
	}
	quota, period, two := strings.Cut(read("cpu", "cpu.cfs_quota_us", "cpu.max"), " ")
	if !two {
		period = read("cpu", "cpu.cfs_period_us", "")
	}
	q, _ := strconv.ParseFloat(quota, 64)
	p, _ := strconv.ParseFloat(period, 64)
	return fmt.Sprint(read("memory", "memory.limit_in_bytes", "memory.max"), " ", q/p, " ",
		read("pids", "pids.max", "pids.max"), " ", read("cpuset", "cpuset.cpus", "cpuset.cpus"))
}

func tarNames(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer f.Close()
	var names []string
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			return strings.Join(names, "\n")
		}
		names = append(names, h.Name)
	}
}

// newTerminal is a terminal, of whose two ends the caller closes both.
func newTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}
