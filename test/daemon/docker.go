package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// Docker is a running Docker Engine, which runs its containers by a containerd.
type Docker struct {
	Dir string // its data, state, sockets and log live below it

	path       string
	containerd *Daemon
	*process
}

// StartDocker starts Docker on top of a containerd of its own, from path as in
// Start, and waits until it answers or ctx ends. Its dockerd, docker, docker-proxy
// and docker-init are those in the folder engine; its images are in containerd's
// image store, or in Docker's own. Its containers' control groups are below
// /cgroup. It needs a network namespace of the test's, where it makes its bridge,
// without rules of a firewall. The caller removes the containers and stops both
// with Stop.
func StartDocker(ctx context.Context, dir, engine, path string, imageStore bool, cgroup string) (_ *Docker, err error) {
	c, err := Start(ctx, dir, path, "moby")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if path, err = absolute(engine); err != nil {
		return nil, err
	}
	d := &Docker{Dir: dir, path: path + string(filepath.ListSeparator) + c.Path, containerd: c}
	config := map[string]any{
		"containerd":    c.Address(),
		"hosts":         []string{"unix://" + d.socket()},
		"data-root":     filepath.Join(dir, "data"),
		"exec-root":     filepath.Join(dir, "exec"),
		"pidfile":       filepath.Join(dir, "docker.pid"),
		"cgroup-parent": "/" + cgroup,
		"exec-opts":     []string{"native.cgroupdriver=cgroupfs"},
		"bip":           "10.88.99.1/24",
		"iptables":      false,
		"ip6tables":     false,
		"ip-masq":       false,
		"features":      map[string]bool{"containerd-snapshotter": imageStore},

		"userland-proxy-path": filepath.Join(path, "docker-proxy"),
		"init-path":           filepath.Join(path, "docker-init"),
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	program, err := find(d.path, "dockerd")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--config-file", file)
	cmd.Env = environ(d.path)
	if d.process, err = serve(ctx, cmd, d.socket(), d.Log()); err != nil {
		return nil, err
	}
	return d, nil
}

// Stop ends Docker and its containerd and waits for them.
func (d *Docker) Stop() error { return errors.Join(d.process.Stop(), d.containerd.Stop()) }

func (d *Docker) socket() string { return filepath.Join(d.Dir, "docker.sock") }

// Log is Docker's log file.
func (d *Docker) Log() string { return filepath.Join(d.Dir, "docker.log") }

// Command is a docker command that speaks to this engine, not yet started. It is
// killed when ctx ends.
func (d *Docker) Command(ctx context.Context, args ...string) *exec.Cmd {
	program, err := find(d.path, "docker")
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(environ(d.path), "DOCKER_HOST=unix://"+d.socket(), "DOCKER_CONFIG="+filepath.Join(d.Dir, "config"))
	if err != nil {
		cmd.Err = err
	}
	return cmd
}
