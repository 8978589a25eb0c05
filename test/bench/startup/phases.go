package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// phases are the parts of a start from an artifact, in their order: Go's start of
// the process; the artifact opened, mapped and its index read; wazero's WASI set
// up; the module's stub decoded; the native code given to it; memory and tables
// made; the guest up to its first output; and what is left, with the process's end.
var phases = []string{"process", "map", "WASI", "decode", "code", "instance", "first output", "end"}

// Where a child writes its marks, for the parent's clock is its own, too.
const (
	marksVariable = "STARTUP_MARKS"
	marksFD       = 3
)

// now is a time that processes share.
func now() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // which there is
	return time.Duration(t.Nano())
}

// watch is a context that notes when it is asked for values: wazero asks for
// those of its experimental features as it goes along, so the engine need not
// know that it is measured.
type watch struct {
	context.Context
	asked map[string][]time.Duration // by the type of what was asked for
}

func (w *watch) Value(key any) any {
	name := reflect.TypeOf(key).Name()
	w.asked[name] = append(w.asked[name], now())
	return w.Context.Value(key)
}

// marks are the ends of the phases from "process" to "instance", of a program
// that began at main and had its module loaded at the end. WASI's module is the
// first that wazero is given, the guest's the second. Of each, it asks for
// listeners once it has decoded it, and for a notifier once there is an instance;
// before it makes one of the guest's, it asks for sockets.
func (w *watch) marks(main, loaded time.Duration) ([]time.Duration, error) {
	const listeners, sockets, notifier = "FunctionListenerFactoryKey", "ConfigKey", "CloseNotifierKey"
	for key, times := range map[string]int{listeners: 2, sockets: 1, notifier: 2} {
		if n := len(w.asked[key]); n != times {
			return nil, fmt.Errorf("wazero has asked for %s %d times, not %d: mend this package for the version of wazero, or give it a guest that uses WASI", key, n, times)
		}
	}
	return []time.Duration{main, w.asked[listeners][0], w.asked[notifier][0], w.asked[listeners][1], w.asked[sockets][0], loaded}, nil
}

// measurePhases returns how long each of the phases took in one start.
func (s start) measurePhases() ([]time.Duration, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := s.command(false)
	cmd.Env = append(cmd.Env, marksVariable+"=true")
	cmd.ExtraFiles = []*os.File{ours}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	times := []time.Duration{now()}
	err = cmd.Start()
	ours.Close()
	if err != nil {
		return nil, err
	}
	n, err := out.Read(make([]byte, 1))
	first := now()
	_, rest := io.Copy(io.Discard, out)
	err = errors.Join(err, rest, cmd.Wait())
	end := now()
	if err != nil || n == 0 {
		return nil, fmt.Errorf("the guest printed nothing, or failed: %w", err)
	}
	var marks []time.Duration
	if err := json.NewDecoder(theirs).Decode(&marks); err != nil {
		return nil, err
	}
	times = append(append(times, marks...), first, end)
	took := make([]time.Duration, len(phases))
	for i := range took {
		took[i] = times[i+1] - times[i]
	}
	return took, nil
}

// printPhases prints the medians of some starts from the artifact in a folder,
// and what part of their sum each is.
func printPhases(path, dir string, runs int) error {
	took := make([][]time.Duration, len(phases))
	for range runs {
		one, err := start{path, dir, wayArtifact}.measurePhases()
		if err != nil {
			return err
		}
		for i := range took {
			took[i] = append(took[i], one[i])
		}
	}
	var all time.Duration
	for _, times := range took {
		all += median(times)
	}
	fmt.Printf("%-16s %6.1f ms |", strings.TrimSuffix(filepath.Base(path), ".wasm"), ms(all))
	for _, times := range took {
		fmt.Printf(" %6.2f ms %3.0f%%", ms(median(times)), 100*median(times).Seconds()/all.Seconds())
	}
	fmt.Println()
	return nil
}

func printPhasesHead() {
	fmt.Printf("\nWhere a start from an artifact takes its time (wall, medians):\n%-16s %9s |", "module", "all")
	for _, phase := range phases {
		fmt.Printf(" %14s", phase)
	}
	fmt.Println()
}
