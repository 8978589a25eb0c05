package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// role is what one of our processes does.
type role string

const (
	starter   role = "start" // the shim's program as containerd calls it to start the daemon
	daemonRun role = "shim"  // the daemon
	guestRun  role = "sandbox"
)

// ours finds the processes in a role. A sandbox process counts as one from its
// fork on, when it still is a copy of the shim.
func ours(want role) (pids []int) {
	links, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is good
	roles, parents := map[int]role{}, map[int]int{}
	for _, link := range links {
		dir := filepath.Dir(link)
		exe, err := os.Readlink(link)
		if err != nil {
			continue // it has ended, or is the kernel's
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		switch strings.TrimSuffix(filepath.Base(exe), " (deleted)") {
		case sandboxProgram:
			roles[pid] = guestRun
		case shimProgram:
			line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			args := bytes.Split(bytes.TrimSuffix(line, []byte{0}), []byte{0})
			switch string(args[len(args)-1]) {
			case "start":
				roles[pid] = starter
			case "delete", "-info":
			default:
				roles[pid] = daemonRun
			}
			parents[pid] = parentOf(dir)
		}
	}
	for pid, r := range roles {
		if r == daemonRun && roles[parents[pid]] == daemonRun {
			r = guestRun
		}
		if r == want {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// parentOf reads the parent from a process's folder in /proc; 0 if it has ended.
func parentOf(dir string) int {
	stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
	// The name in parentheses may hold anything; the state and the parent follow.
	if _, rest, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") ")); ok {
		if fields := bytes.Fields(rest); len(fields) > 1 {
			parent, _ := strconv.Atoi(string(fields[1]))
			return parent
		}
	}
	return 0
}
