package wasi

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"
)

func TestArgsAndEnvironment(t *testing.T) {
	cfg := Config{Args: []string{"guest", "", "with space"}, Env: []string{"A=1", "B=2", "A=3=4", "EMPTY=", "BARE"}}
	cfg.Streams = streams(t)
	g := newGuest(t, wazero.NewRuntimeConfigInterpreter(), Preview1, cfg)
	texts := func(sizes, get string) []string {
		g.want(success, sizes, result, result2)
		n, size := g.u32(result), g.u32(result2)
		g.want(success, get, vectors, buffer)
		var texts []string
		for i := range n {
			at := g.u32(vectors + 4*i)
			all := g.bytes(at, buffer+size-at)
			texts = append(texts, string(all[:bytes.IndexByte(all, 0)]))
		}
		return texts
	}
	if got := strings.Join(texts("args_sizes_get", "args_get"), "|"); got != "guest||with space" {
		t.Errorf("arguments %q", got)
	}
	if got := strings.Join(texts("environ_sizes_get", "environ_get"), "|"); got != "A=3=4|B=2|EMPTY=|BARE" {
		t.Errorf("environment %q", got)
	}
	for _, name := range []string{"args", "environ"} {
		g.want(errnoFault, name+"_get", outside, buffer)
		g.want(errnoFault, name+"_get", vectors, outside)
		g.want(errnoFault, name+"_sizes_get", outside, result)
		g.want(errnoFault, name+"_sizes_get", result, outside)
	}
}

func TestClocks(t *testing.T) {
	each(t, func(g *guest) {
		var last [clocks]uint64
		for range 2 {
			for clock := range uint64(clocks) {
				g.want(success, "clock_time_get", clock, 0, result)
				now := g.u64(result)
				if now < last[clock] || now == 0 {
					g.Errorf("clock %d went from %d to %d", clock, last[clock], now)
				}
				last[clock] = now
				g.want(success, "clock_res_get", clock, result)
				if n := g.u64(result); n == 0 || n > 1e6 {
					g.Errorf("clock %d has a resolution of %d ns", clock, n)
				}
			}
		}
		if off := time.Since(time.Unix(0, int64(last[clockRealtime]))); off.Abs() > time.Minute {
			g.Errorf("the time of day is off by %v", off)
		}
		if kernel := g.host.kernelClock(clockMonotonic); kernel-int64(last[clockMonotonic]) > int64(time.Minute) {
			g.Errorf("the monotonic clock is not the kernel's: %d and %d", last[clockMonotonic], kernel)
		}
		g.want(errnoInval, "clock_time_get", clocks, 0, result)
		g.want(errnoInval, "clock_res_get", clocks, result)
		g.want(errnoFault, "clock_time_get", 0, 0, outside)
		g.want(errnoFault, "clock_res_get", 0, outside)
	})
}

func TestRandom(t *testing.T) {
	each(t, func(g *guest) {
		const size = 1000 // more than the kernel fills without looking for signals
		g.want(success, "random_get", buffer, size)
		first := g.bytes(buffer, size)
		g.want(success, "random_get", buffer, size)
		if second := g.bytes(buffer, size); bytes.Equal(first, second) || bytes.Count(second, []byte{0}) > size/10 {
			g.Errorf("not random: % x", second)
		}
		g.want(success, "random_get", buffer, 0)
		g.want(errnoFault, "random_get", outside, 100)
	})
}

func TestExitAndRaise(t *testing.T) {
	each(t, func(g *guest) {
		g.want(success, "sched_yield")
		for _, signal := range []uint64{0, signalChld, signalCont, signalUrg, signalWinc} {
			g.want(success, "proc_raise", signal)
		}
		g.want(errnoNotsup, "proc_raise", signalStop)
		g.want(errnoInval, "proc_raise", signals)
		for _, c := range []struct {
			name     string
			argument uint64
			code     uint32
		}{{"proc_exit", 7, 7}, {"proc_exit", 0, 0}, {"proc_raise", 6, 128 + 6}, {"proc_raise", 15, 128 + 15}, {"proc_raise", 30, 128 + 31}} {
			_, err := g.module.ExportedFunction(c.name).Call(g.Context(), c.argument)
			if exit := (*sys.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != c.code {
				g.Errorf("%s %d: %v", c.name, c.argument, err)
			}
		}
	})
}

func TestHas(t *testing.T) {
	for _, c := range []struct {
		module, name string
		want         bool
	}{
		{Preview1, "fd_read", true}, {Preview1, "sock_accept", true}, {Preview1, "fd_dance", false},
		{Unstable, "fd_read", true}, {Unstable, "sock_accept", false}, {Unstable, "fd_seek", true}, {"env", "fd_read", false},
	} {
		if got := Has(c.module, c.name); got != c.want {
			t.Errorf("%s.%s: %v", c.module, c.name, got)
		}
	}
}

func TestPreopenThatIsNotThere(t *testing.T) {
	_, err := New(Config{Preopens: []Preopen{{Path: "/nowhere", Name: "/"}}})
	if err == nil || !strings.Contains(err.Error(), "directory /nowhere of the guest cannot be opened") {
		t.Errorf("got %v", err)
	}
}
