package docker

import (
	"fmt"
	"strings"
	"time"
)

var limits = []line{
	{what: "`--memory`, out of memory", linux: "exit 137 true", wasm: "runtime: out of memory exit 2 false", why: "`memory.grow` fails before the limit is reached, so the guest hears of it, and ends in its own way", run: func(r runner) string {
		out, code := r.docker(r.T, r.args("run", []string{"--memory", "48m", "--memory-swap", "48m"}, "grow", "300")...)
		says, _, _ := strings.Cut(firstLine(out), ": cannot")
		return outcome(says, code) + " " + r.inspect(".State.OOMKilled")
	}},
	{what: "`--memory`, `--cpus`, `--pids-limit`, `--cpuset-cpus` in the control group", linux: "67108864 0.5 50 0", run: func(r runner) string {
		r.start([]string{"--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cpuset-cpus", "0"}, "sleep")
		return limitsOf(r)
	}},
	{what: "`docker update`", linux: "100663296 1.5 60 0", run: func(r runner) string {
		r.start([]string{"--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cpuset-cpus", "0"}, "sleep")
		r.must(r.T, "update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "1.5", "--pids-limit", "60", r.name)
		return limitsOf(r)
	}},
	{what: "`--ulimit`", linux: "1000 2000 bytes", run: func(r runner) string {
		r.start([]string{"--ulimit", "fsize=1000:2000"}, "sleep")
		for line := range strings.Lines(procFile(r.T, r.inspect(".State.Pid"), "limits")) {
			if after, ok := strings.CutPrefix(line, "Max file size"); ok {
				return words(after)
			}
		}
		return ""
	}},
	{what: "`--sysctl net.ipv4.ip_unprivileged_port_start=7`", linux: "7", run: func(r runner) string {
		return r.run([]string{"--sysctl", "net.ipv4.ip_unprivileged_port_start=7"}, "read", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
	}},
	{what: "`docker stats`", linux: "memory and PIDs", run: func(r runner) string {
		r.start(nil, "sleep")
		out := r.must(r.T, "stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", r.name)
		if strings.HasPrefix(out, "0B") || strings.HasSuffix(out, " 0") {
			return out
		}
		return "memory and PIDs"
	}},
	{what: "`docker pause`, `unpause`", linux: "paused true running true", run: func(r runner) string {
		r.start(nil, "tick", "20")
		moves := func() bool {
			before := r.must(r.T, "logs", r.name)
			time.Sleep(200 * time.Millisecond)
			return r.must(r.T, "logs", r.name) != before
		}
		r.must(r.T, "pause", r.name)
		paused := fmt.Sprint(r.inspect(".State.Status"), " ", !moves())
		r.must(r.T, "unpause", r.name)
		return fmt.Sprint(paused, " ", r.inspect(".State.Status"), " ", moves())
	}},
	{what: "`docker top`", linux: "/app sleep", wasm: "wasm-sandbox /app sleep", why: "the process is `wasm-sandbox`, with the guest's arguments after its own name", run: func(r runner) string {
		r.start(nil, "sleep")
		out := r.must(r.T, "top", r.name, "-o", "pid,args")
		_, process, _ := strings.Cut(out, "\n")
		_, args, _ := strings.Cut(strings.TrimSpace(process), " ")
		return strings.TrimSpace(args)
	}},
}

const noHandlers = "the guest ends at once with 128 + n, for it has no handlers; a Linux program as process 1 ends in its own way, or not at all"

var ends = []line{
	{what: "`docker stop`: SIGTERM", linux: "exit 2, at once", wasm: "exit 143, at once", why: noHandlers, run: func(r runner) string {
		r.start(nil, "sleep")
		return r.stopped("stop", r.name)
	}},
	{what: "`--stop-timeout 1`, a program that ignores SIGTERM", linux: "exit 137, late", wasm: "exit 143, at once", why: noHandlers, run: func(r runner) string {
		r.start([]string{"--stop-timeout", "1"}, "stubborn")
		return r.stopped("stop", r.name)
	}},
	{what: "`--stop-signal SIGINT`", linux: "exit 2, at once", wasm: "exit 130, at once", why: noHandlers, run: func(r runner) string {
		r.start([]string{"--stop-signal", "SIGINT"}, "sleep")
		return r.stopped("stop", r.name)
	}},
	{what: "`docker kill`", linux: "exit 137, at once", run: func(r runner) string {
		r.start(nil, "sleep")
		return r.stopped("kill", r.name)
	}},
	{what: "`--restart on-failure:2`", linux: "2 exited", run: func(r runner) string {
		r.must(r.T, r.args("run", []string{"-d", "--restart", "on-failure:2"}, "exit", "1")...)
		r.until("it is not started again", func() bool { return r.inspect(".State.Status") == "exited" && r.inspect(".RestartCount") == "2" })
		return r.inspect(".RestartCount") + " " + r.inspect(".State.Status")
	}},
	{what: "`docker restart`", linux: "running, sleeping sleeping", run: func(r runner) string {
		r.start(nil, "sleep")
		r.must(r.T, "restart", r.name)
		r.until("it writes again", func() bool { return strings.Count(r.must(r.T, "logs", r.name), "sleeping") == 2 })
		return r.inspect(".State.Status") + ", " + words(r.must(r.T, "logs", r.name))
	}},
	{what: "HEALTHCHECK", linux: "healthy unhealthy", run: func(r runner) string {
		r.must(r.T, r.args("create", nil)...)
		defer r.docker(r.T, "image", "rm", "--force", "healthy-"+r.name, "unhealthy-"+r.name)
		plain := r.image
		var states []string
		for i, want := range []string{"healthy", "unhealthy"} {
			r.must(r.T, "commit", "--change", fmt.Sprintf(`HEALTHCHECK --interval=100ms --retries=1 CMD ["/app", "exit", "%d"]`, i), r.name, want+"-"+r.name)
			states = append(states, r.health(want+"-"+r.name))
		}
		r.image = plain
		return strings.Join(states, " ")
	}},
}

var management = []line{
	{what: "`docker inspect`", linux: "exited 7 /app", run: func(r runner) string {
		r.docker(r.T, r.args("run", nil, "exit", "7")...)
		return r.inspect(".State.Status") + " " + r.inspect(".State.ExitCode") + " " + r.inspect(".Path")
	}},
	{what: "`docker rename`, `docker rm --force`", linux: "new", run: func(r runner) string {
		r.start(nil, "sleep")
		r.must(r.T, "rename", r.name, "new-"+r.name)
		found := r.must(r.T, "ps", "--filter", "name=^new-"+r.name+"$", "--format", "{{.Names}}")
		r.must(r.T, "rm", "--force", "new-"+r.name)
		return strings.TrimSuffix(found, "-"+r.name)
	}},
	{what: "`docker events`", linux: "create attach start die destroy", run: func(r runner) string {
		begin := time.Now()
		r.run(nil, "say", "hello")
		end := time.Now().Add(time.Second)
		return words(r.must(r.T, "events", "--since", fmt.Sprint(begin.Unix()), "--until", fmt.Sprint(end.Unix()), "--filter", "container="+r.name, "--format", "{{.Action}}"))
	}},
}

// stopped is how a container ends by a docker command, and whether at once.
func (r runner) stopped(command ...string) string {
	begin := time.Now()
	r.must(r.T, command...)
	r.must(r.T, "wait", r.name)
	when := "at once"
	code := r.inspect(".State.ExitCode")
	if command[0] == "stop" && code == "137" { // by the kill at the end of the patience
		when = "late"
		if time.Since(begin) < time.Second {
			r.Error("killed before its time")
		}
	}
	return "exit " + code + ", " + when
}

// health is what becomes of the health of a container of an image.
func (r runner) health(image string) string {
	r.name, r.image = image, image
	r.must(r.T, r.args("run", []string{"-d"}, "sleep")...)
	defer r.must(r.T, "rm", "--force", r.name)
	r.until("a verdict on its health", func() bool { return r.inspect(".State.Health.Status") != "starting" })
	return r.inspect(".State.Health.Status")
}
