package wasi

import (
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/unix"
)

// Config is what a guest has of the world.
type Config struct {
	// Args are the command line, with the program's name.
	Args []string
	// Env has entries of the form NAME=value; of a name that occurs twice the
	// last value counts.
	Env []string
	// Streams are the process's descriptors that become 0, 1 and 2.
	Streams [3]int
	// Preopens become the descriptors from 3 on.
	Preopens []Preopen
	// Sockets are descriptors that follow them: wasi-libc looks for directories from
	// 3 on, as far as the first one that is none.
	Sockets []int
}

// Preopen is a directory that the guest has from its beginning.
type Preopen struct {
	Path string // of the process
	Name string // as the guest sees it
}

// Host is what one guest calls, from one goroutine at a time. The zero value is
// for a guest that is linked and never runs.
type Host struct {
	// memory is the guest's, from its first call on.
	memory api.Memory
	table  table
	// args and env are as args_get stores them: strings that end with NUL.
	args, env          []byte
	argCount, envCount uint32
	started            time.Time
	monotonicAtStart   int64

	// What follows belongs to the call that is going on, and is here because
	// what the kernel fills in would otherwise be allocated.
	iovecs [maxIovecs]unix.Iovec
	paths  [2][pathSize]byte
	how    unix.OpenHow
	stat   unix.Stat_t
	times  [2]unix.Timespec
	clock  unix.Timespec
	unread int32
	poll   pollState
	dirent []byte
}

// New opens what the configuration names. The host lives as long as the process.
func New(cfg Config) (*Host, error) {
	h := &Host{started: time.Now()}
	h.monotonicAtStart = h.kernelClock(unix.CLOCK_MONOTONIC)
	h.args, h.argCount = joined(cfg.Args)
	h.env, h.envCount = joined(lastValues(cfg.Env))
	for _, fd := range cfg.Streams {
		d, ok := h.stream(fd)
		d.open = ok
		h.table = append(h.table, d)
	}
	for _, p := range cfg.Preopens {
		d, err := preopened(p)
		if err != nil {
			return nil, err
		}
		d.open = true
		h.table = append(h.table, d)
	}
	for _, fd := range cfg.Sockets {
		d, ok := h.stream(fd)
		if !ok {
			return nil, fmt.Errorf("descriptor %d is no socket for the guest", fd)
		}
		d.open = true
		h.table = append(h.table, d)
	}
	return h, nil
}

func joined(texts []string) (all []byte, count uint32) {
	for _, text := range texts {
		all = append(append(all, text...), 0)
	}
	return all, uint32(len(texts))
}

// lastValues leaves of each variable the last, where the first one was.
func lastValues(env []string) (unique []string) {
	at := map[string]int{}
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if i, seen := at[name]; seen {
			unique[i] = entry
			continue
		}
		at[name] = len(unique)
		unique = append(unique, entry)
	}
	return unique
}
