// Startup compares how modules start: compiled on the spot, from wazero's own
// cache, and from an artifact of the engine package. Each start is a process of
// its own, the ways take turns, and what counts is the ratio within one run. A
// second table has the phases of starts from the artifact.
//
//	startup [-n RUNS] MODULE...
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
)

// copies is how many processes run at once to see what they share.
const copies = 8

func main() {
	if way := os.Getenv(wayVariable); way != "" {
		os.Exit(child(way))
	}
	runs := flag.Int("n", 15, "how many starts are measured in each way")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	fmt.Printf("%-16s %9s | %9s %9s %9s | %9s %9s | %9s %9s %7s\n", "", "", "cpu", "cpu", "cpu", "wall", "wall", "private", "private", "")
	fmt.Printf("%-16s %9s | %9s %9s %9s | %9s %9s | %9s %9s %7s\n", "module", "size", "cold", "wazero", "artifact", "wazero", "artifact", "wazero", "artifact", "ratio")
	if err := measureAll(flag.Args(), *runs); err != nil {
		fmt.Fprintf(os.Stderr, "startup: %v\n", err)
		os.Exit(1)
	}
}

func measureAll(modules []string, runs int) error {
	dirs := map[string]string{}
	for _, path := range modules {
		dir, err := os.MkdirTemp("", "startup-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		dirs[path] = dir
		if err := compare(path, dir, runs); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	printPhasesHead()
	for _, path := range modules {
		if err := printPhases(path, dirs[path], runs); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// start is one start of a module.
type start struct {
	module, dir string // the module, and where the caches are
	way         string
}

func (s start) command(hold bool) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", s.module, s.dir)
	cmd.Env = []string{wayVariable + "=" + s.way, fmt.Sprintf("%s=%v", holdVariable, hold),
		"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1,containermaxprocs=0,updatemaxprocs=0"}
	cmd.Stderr = os.Stderr
	return cmd
}

// measure returns the processor and the wall time of a whole process.
func (s start) measure() (cpu, wall time.Duration, err error) {
	cmd := s.command(false)
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", s.way, err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Since(begin), nil
}

// private returns the memory in bytes that each of several processes at once has
// for itself alone.
func (s start) private() (bytes int64, err error) {
	var all []*exec.Cmd
	defer func() {
		for _, cmd := range all {
			err = errors.Join(err, ignoreKill(cmd))
		}
	}()
	for range copies {
		cmd := s.command(true)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return 0, err
		}
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		all = append(all, cmd)
		for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != holding; {
		}
	}
	for _, cmd := range all {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(rollup)) {
			fields := strings.Fields(line)
			if len(fields) == 3 && (fields[0] == "Private_Clean:" || fields[0] == "Private_Dirty:") {
				n, err := strconv.ParseInt(fields[1], 10, 64)
				if err != nil {
					return 0, err
				}
				bytes += n << 10
			}
		}
	}
	return bytes / copies, nil
}

func ignoreKill(cmd *exec.Cmd) error {
	if err := cmd.Process.Kill(); err != nil {
		return err
	}
	_ = cmd.Wait() // which says that it was killed
	return nil
}

// compare prints the ways to start a module. The caches are in dir afterwards.
func compare(path, dir string, runs int) error {
	module, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, artifactName))
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := engine.Compile(context.Background(), path, module, file, 0); err != nil {
		return err
	}
	of := func(way string) start { return start{path, dir, way} }
	if _, _, err := of(wayWazero).measure(); err != nil { // fills wazero's cache
		return err
	}
	cpu, wall := map[string][]time.Duration{}, map[string][]time.Duration{}
	for run := range runs {
		for _, way := range []string{wayWazero, wayArtifact, wayCold} {
			if way == wayCold && run >= 3 {
				continue
			}
			c, w, err := of(way).measure()
			if err != nil {
				return err
			}
			cpu[way], wall[way] = append(cpu[way], c), append(wall[way], w)
		}
	}
	theirs, err := of(wayWazero).private()
	if err != nil {
		return err
	}
	ours, err := of(wayArtifact).private()
	if err != nil {
		return err
	}
	fmt.Printf("%-16s %6.1f MB | %6.1f ms %6.1f ms %6.1f ms | %6.1f ms %6.1f ms | %6.1f MB %6.1f MB\n",
		strings.TrimSuffix(filepath.Base(path), ".wasm"), mb(int64(len(module))),
		ms(median(cpu[wayCold])), ms(median(cpu[wayWazero])), ms(median(cpu[wayArtifact])),
		ms(median(wall[wayWazero])), ms(median(wall[wayArtifact])), mb(theirs), mb(ours))
	ratio := func(times map[string][]time.Duration) float64 {
		return float64(median(times[wayArtifact])) / float64(median(times[wayWazero]))
	}
	fmt.Printf("%-16s %9s | artifact / wazero: cpu %.3f, wall %.3f, private memory of %d processes %.3f; artifact / cold: cpu %.3f\n",
		"", "", ratio(cpu), ratio(wall), copies, float64(ours)/float64(theirs),
		float64(median(cpu[wayArtifact]))/float64(median(cpu[wayCold])))
	return nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }
func mb(n int64) float64         { return float64(n) / (1 << 20) }
