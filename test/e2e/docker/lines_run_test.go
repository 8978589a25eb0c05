package docker

import (
	"os"
	"path/filepath"
	"strings"
)

var running = []line{
	{what: "`docker run`", linux: "hello", run: func(r runner) string { return r.run(nil, "say", "hello") }},
	{what: "exit codes", linux: "exit 7", run: func(r runner) string { return r.run(nil, "exit", "7") }},
	{what: "`docker run --detach`, `docker wait`, `docker logs`", linux: "7 out err", run: func(r runner) string {
		r.must(r.T, r.args("run", []string{"-d"}, "exit", "7")...)
		code := r.must(r.T, "wait", r.name)
		r.must(r.T, "rm", r.name)
		r.must(r.T, r.args("run", []string{"-d"}, "both")...)
		r.must(r.T, "wait", r.name)
		return code + " " + sorted(r.must(r.T, "logs", r.name))
	}},
	{what: "`docker create`, `docker start --attach`", linux: "hello", run: func(r runner) string {
		r.must(r.T, r.args("create", nil, "say", "hello")...)
		return r.must(r.T, "start", "--attach", r.name)
	}},
	{what: "a program that is not there", linux: "exit 127", run: func(r runner) string {
		_, code := r.docker(r.T, r.args("run", []string{"--entrypoint", "/none"})...)
		return outcome("", code)
	}},
	{what: "`--init`", linux: "hello", run: func(r runner) string { return r.run([]string{"--init"}, "say", "hello") }},
	{what: "`--privileged`", linux: "hello", run: func(r runner) string { return r.run([]string{"--privileged"}, "say", "hello") }},
	{what: "`--security-opt seccomp=unconfined`, `--cap-add ALL`, `--cap-drop ALL`", linux: "a b c", run: func(r runner) string {
		return strings.Join([]string{
			r.run([]string{"--security-opt", "seccomp=unconfined"}, "say", "a"),
			r.run([]string{"--cap-add", "ALL"}, "say", "b"),
			r.run([]string{"--cap-drop", "ALL"}, "say", "c"),
		}, " ")
	}},
	{what: "`--pid host`, `--ipc host`, `--uts host`", linux: "a b c", run: func(r runner) string {
		return strings.Join([]string{
			r.run([]string{"--pid", "host"}, "say", "a"),
			r.run([]string{"--ipc", "host"}, "say", "b"),
			r.run([]string{"--uts", "host"}, "say", "c"),
		}, " ")
	}},
}

var configuration = []line{
	{what: "arguments", linux: "a b  c", run: func(r runner) string { return r.run(nil, "say", "a", "b ", "c") }},
	{what: "`--entrypoint`", linux: "no arguments", run: func(r runner) string { return r.run([]string{"--entrypoint", "/app"}) }},
	{what: "`--env`, `--env-file`", linux: "1 2", run: func(r runner) string {
		file := filepath.Join(r.TempDir(), "env")
		if err := os.WriteFile(file, []byte("# some\nB=2\n"), 0o644); err != nil {
			r.Error(err)
		}
		return words(r.run([]string{"--env", "A=1", "--env-file", file}, "env", "A", "B"))
	}},
	{what: "`--workdir`, made if it is not there", linux: "/made/here", run: func(r runner) string {
		return r.run([]string{"--workdir", "/made/here"}, "cwd")
	}},
	{what: "`--user 1000:1000`, `--user app`", linux: "EACCES 1000 1234", run: func(r runner) string {
		dir := r.TempDir()
		if err := os.Chmod(dir, 0o777); err != nil {
			r.Error(err)
		}
		volume := dir + ":/v"
		refused := r.run([]string{"--user", "1000:1000"}, "write", "/file", "x")
		r.run([]string{"--user", "1000:1000", "-v", volume}, "write", "/v/a", "x")
		r.run([]string{"--user", "app", "-v", volume}, "write", "/v/b", "x")
		return strings.TrimSuffix(refused, " exit 1") + " " + owner(r.T, dir+"/a") + " " + owner(r.T, dir+"/b")
	}},
	{what: "`--hostname`, `--add-host`", linux: "name 10.9.8.7 peer", run: func(r runner) string {
		name := r.run([]string{"--hostname", "name"}, "read", "/etc/hostname")
		for line := range strings.Lines(r.run([]string{"--network", "bridge", "--add-host", "peer:10.9.8.7"}, "read", "/etc/hosts")) {
			if strings.Contains(line, "peer") {
				return name + " " + words(line)
			}
		}
		return name
	}},
}
