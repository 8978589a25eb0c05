package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

var networks = []line{
	{what: "`--network none`", linux: "lo", run: func(r runner) string { return r.run([]string{"--network", "none"}, "devices") }},
	{what: "`--network bridge`, its address in `docker inspect`", linux: "eth0 lo 10.88.99.", run: func(r runner) string {
		r.must(r.T, r.args("run", []string{"--detach", "--network", "bridge"}, "sleep")...)
		address := r.inspect("range .NetworkSettings.Networks}}{{.IPAddress}}{{end")
		return r.runSecond([]string{"--network", "bridge"}, "devices") + " " + address[:strings.LastIndex(address, ".")+1]
	}},
	{what: "`--network host`", linux: "as the host's", run: func(r runner) string {
		devices := r.run([]string{"--network", "host"}, "devices")
		if strings.Contains(devices, "docker0") && strings.Contains(devices, "lo") {
			return "as the host's"
		}
		return devices
	}},
	{what: "`docker network create`, `connect`, `disconnect`", linux: "eth0 eth1 lo, eth0 lo", run: func(r runner) string {
		network := "net-" + r.name
		r.must(r.T, "network", "create", network)
		r.start([]string{"--network", "bridge"}, "sleep")
		r.must(r.T, "network", "connect", network, r.name)
		devices := func() string { return r.must(r.T, "exec", r.name, "/app", "devices") }
		both := devices()
		r.must(r.T, "network", "disconnect", network, r.name)
		one := devices()
		r.must(r.T, "network", "rm", network)
		return both + ", " + one
	}},
	{what: "`--publish`, a server", linux: "answer", wasm: "fatal error: all goroutines are asleep - deadlock!", why: "a guest cannot open a socket, and Go's own stand-in ends so; it is given one by the annotation `io.containerd.wasm.v1.listen`, where the runtime's options allow that", run: func(r runner) string {
		r.start([]string{"--network", "bridge", "--publish", "127.0.0.1::80"}, "listen", ":80")
		if r.wasm() {
			r.must(r.T, "wait", r.name)
			return lineWith(r.must(r.T, "logs", r.name), "fatal error")
		}
		c, err := net.DialTimeout("tcp", r.must(r.T, "port", r.name, "80/tcp"), 10*time.Second)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		answer, _ := io.ReadAll(c)
		return strings.TrimSpace(string(answer))
	}},
}

var files = []line{
	{what: "named volumes", linux: "kept", run: func(r runner) string {
		volume := "vol-" + r.name + ":/v"
		r.run([]string{"-v", volume}, "write", "/v/file", "kept")
		return r.run([]string{"-v", volume}, "read", "/v/file")
	}},
	{what: "bind mounts, `:ro`", linux: "text EROFS exit 1", run: func(r runner) string {
		file := filepath.Join(r.TempDir(), "file")
		if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
			r.Error(err)
		}
		mount := file + ":/file:ro"
		return r.run([]string{"-v", mount}, "read", "/file") + " " + r.run([]string{"-v", mount}, "write", "/file", "x")
	}},
	{what: "`--tmpfs`, its size", linux: "ENOSPC exit 1", run: func(r runner) string {
		r.run([]string{"--tmpfs", "/t"}, "write", "/t/file", "x")
		return r.run([]string{"--tmpfs", "/t:size=64k"}, "fill", "/t/file", "100000")
	}},
	{what: "`--shm-size`", linux: "ENOSPC exit 1", run: func(r runner) string {
		return r.run([]string{"--shm-size", "64k"}, "fill", "/dev/shm/file", "100000")
	}},
	{what: "`--read-only`", linux: "EROFS exit 1", run: func(r runner) string { return r.run([]string{"--read-only"}, "write", "/file", "x") }},
	{what: "`docker cp`, into and out of a container that runs, and one that has ended", linux: "in in out", run: func(r runner) string {
		dir := r.TempDir()
		if err := os.WriteFile(dir+"/in", []byte("in"), 0o644); err != nil {
			r.Error(err)
		}
		r.start(nil, "sleep")
		r.must(r.T, "cp", dir+"/in", r.name+":/in")
		seen := r.must(r.T, "exec", r.name, "/app", "read", "/in")
		r.must(r.T, "exec", r.name, "/app", "write", "/out", "out")
		copied := func(name string) string {
			r.must(r.T, "cp", r.name+":/"+name, dir+"/copy")
			data, err := os.ReadFile(dir + "/copy")
			if err != nil {
				r.Error(err)
			}
			return string(data)
		}
		running := copied("in")
		r.must(r.T, "kill", r.name)
		return seen + " " + running + " " + copied("out")
	}},
	{what: "`docker commit`, `docker diff`", linux: "A /new; text", run: func(r runner) string {
		r.must(r.T, r.args("run", nil, "write", "/new", "text")...)
		diff := r.must(r.T, "diff", r.name)
		image := "commit-" + r.name
		r.must(r.T, "commit", r.name, image)
		defer r.docker(r.T, "image", "rm", "--force", image)
		r.image = image
		r.must(r.T, "rm", r.name)
		return lineWith(diff, "/new") + "; " + r.run(nil, "read", "/new")
	}},
	{what: "`docker export`", linux: "app", run: func(r runner) string {
		r.must(r.T, r.args("create", nil)...)
		file := filepath.Join(r.TempDir(), "export.tar")
		r.must(r.T, "export", "--output", file, r.name)
		return lineWith(tarNames(r.T, file), "app")
	}},
}

var streams = []line{
	{what: "`-i` with a pipe", linux: "through", run: func(r runner) string {
		return r.piped("through\n", true, r.args("run", []string{"--rm", "-i"}, "cat")...)
	}},
	{what: "`-it`", linux: "true", run: func(r runner) string { return onTerminal(r, r.args("run", []string{"--rm", "-it"}, "tty")...) }},
	{what: "`docker attach`, with standard input", linux: "through", run: func(r runner) string {
		r.must(r.T, r.args("run", []string{"-d", "-i"}, "line")...)
		return r.piped("through\n", false, "attach", r.name)
	}},
	{what: "`docker exec`, its arguments, exit code, `-e`, `-w`, `-i`", linux: "hello; exit 7; value; /etc; through", run: func(r runner) string {
		r.start(nil, "sleep")
		exec := func(options []string, args ...string) string {
			out, code := r.docker(r.T, append(append(append([]string{"exec"}, options...), r.name, "/app"), args...)...)
			return outcome(out, code)
		}
		return strings.Join([]string{
			exec(nil, "say", "hello"), exec(nil, "exit", "7"),
			exec([]string{"-e", "A=value"}, "env", "A"), exec([]string{"-w", "/etc"}, "cwd"),
			r.piped("through\n", true, "exec", "-i", r.name, "/app", "cat"),
		}, "; ")
	}},
	{what: "`docker exec --user`", linux: "EACCES exit 1", run: func(r runner) string {
		r.start(nil, "sleep")
		out, code := r.docker(r.T, "exec", "--user", "app", r.name, "/app", "write", "/file", "x")
		return outcome(out, code)
	}},
	{what: "`docker exec -it`", linux: "true", run: func(r runner) string {
		r.start(nil, "sleep")
		return onTerminal(r, "exec", "-it", r.name, "/app", "tty")
	}},
	{what: "`docker exec` of a program that is not there", linux: "exit 127", run: func(r runner) string {
		r.start(nil, "sleep")
		_, code := r.docker(r.T, "exec", r.name, "/none")
		return outcome("", code)
	}},
	{what: "`docker logs --follow`", linux: "0 1 2", run: func(r runner) string {
		r.start(nil, "tick", "20")
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return firstLines(r.T, 3, r.Command(ctx, "logs", "--follow", r.name))
	}},
	{what: "`--log-driver json-file`, `local`, `none`", linux: "hello; hello; exit 1", run: func(r runner) string {
		var all []string
		for _, driver := range []string{"json-file", "local", "none"} {
			r.must(r.T, r.args("run", []string{"-d", "--log-driver", driver}, "say", "hello")...)
			r.must(r.T, "wait", r.name)
			out, code := r.docker(r.T, "logs", r.name)
			if code != 0 {
				out = "" // which names the driver
			}
			all = append(all, outcome(out, code))
			r.must(r.T, "rm", r.name)
		}
		return strings.Join(all, "; ")
	}},
}

// runSecond runs a second container beside the first.
func (r runner) runSecond(options []string, guest ...string) string {
	r.name += "-second"
	return r.run(options, guest...)
}

// piped is what a docker command wrote that got the input on its standard input,
// and its end if end is set: docker attach goes away at it.
func (r runner) piped(input string, end bool, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := r.Command(ctx, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = io.WriteString(stdin, input)
		if end {
			stdin.Close()
		}
		err = errors.Join(err, cmd.Wait())
	}
	if err != nil {
		r.Errorf("docker %q: %v: %s", args, err, out.String())
	}
	return strings.TrimSpace(out.String())
}

// onTerminal is what a docker command wrote whose streams are a terminal.
func onTerminal(r runner, args ...string) string {
	master, slave, err := newTerminal()
	if err != nil {
		r.Error(err)
		return ""
	}
	defer master.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := r.Command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	err = cmd.Start()
	slave.Close()
	if err != nil {
		r.Error(err)
		return ""
	}
	var out bytes.Buffer
	io.Copy(&out, master) // which ends by EIO when nobody has the other end
	if err := cmd.Wait(); err != nil {
		r.Errorf("docker %q: %v", args, err)
	}
	return strings.TrimSpace(out.String())
}

func firstLines(t failer, n int, cmd *exec.Cmd) string {
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Errorf("%v", err)
		return ""
	}
	var text []byte
	for one := make([]byte, 1); bytes.Count(text, []byte("\n")) < n; {
		if _, err := out.Read(one); err != nil {
			t.Errorf("after %q: %v", text, err)
			break
		}
		text = append(text, one...)
	}
	cmd.Process.Kill()
	cmd.Wait()
	return words(string(text))
}
