// Package daemon starts a private containerd: its own root, state and sockets,
// and only the plugins that running a container needs; and a private Docker
// Engine on top of it.
package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Daemon is a running containerd.
type Daemon struct {
	Dir       string // root, state, sockets and log live below it
	Path      string // where programs are looked up, as in $PATH
	Namespace string // the containerd namespace that Ctr works in

	*process
}

// config is in version 2 of the format, which every containerd from 1.6 on
// reads. NRI and the snapshotters of other filesystems only cost time and log
// lines here.
const config = `version = 2
root = %[1]q
state = %[2]q
disabled_plugins = [%[5]s
  'io.containerd.nri.v1.nri',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.erofs',
  'io.containerd.snapshotter.v1.zfs',
]

[grpc]
  address = %[3]q
[ttrpc]
  address = %[4]q
`

// noCRI are the plugins that Kubernetes' CRI consists of.
const noCRI = `
  'io.containerd.grpc.v1.cri',
  'io.containerd.cri.v1.images',
  'io.containerd.cri.v1.runtime',
  'io.containerd.podsandbox.controller.v1.podsandbox',`

// criConfig has pods of an image that is there, all of them Wasm, and no network
// for them. What it turns off, a machine of the tests may not have.
const criConfig = `[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = %[2]q
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  [plugins.'io.containerd.grpc.v1.cri'.containerd]
    default_runtime_name = 'wasm'
    [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.wasm]
      runtime_type = 'io.containerd.wasm.v1'
  [plugins.'io.containerd.grpc.v1.cri'.cni]
    conf_dir = %[1]q
`

// CRINamespace is the containerd namespace of Kubernetes.
const CRINamespace = "k8s.io"

// Start starts containerd from path, a list of folders as in $PATH that is
// also searched for shims, and waits until it answers or ctx ends. It has no CRI.
// The caller stops it with Stop.
func Start(ctx context.Context, dir, path, namespace string) (*Daemon, error) {
	return start(ctx, dir, path, namespace, noCRI, "")
}

// StartCRI is Start for a containerd that serves CRI, whose pods' own image is
// pause. More of its configuration may follow: of its last table, plugins.….cni, first.
func StartCRI(ctx context.Context, dir, path, pause string, more ...string) (*Daemon, error) {
	return start(ctx, dir, path, CRINamespace, "", fmt.Sprintf(criConfig, dir, pause)+strings.Join(more, ""))
}

func start(ctx context.Context, dir, path, namespace, disabled, more string) (*Daemon, error) {
	path, err := absolute(path)
	if err != nil {
		return nil, err
	}
	d := &Daemon{Dir: dir, Path: path, Namespace: namespace}
	program, err := d.Program("containerd")
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(config, d.Root(), d.State(), d.Address(), d.Address()+".ttrpc", disabled) + more
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--config", file, "--log-level", "debug")
	cmd.Env = d.environ()
	d.process, err = serve(ctx, cmd, d.Address(), d.Log())
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Address is the path of the gRPC socket.
func (d *Daemon) Address() string { return filepath.Join(d.Dir, "containerd.sock") }

// Root and State are containerd's folders; Log is its log file, which takes
// the shims' logs too.
func (d *Daemon) Root() string  { return filepath.Join(d.Dir, "root") }
func (d *Daemon) State() string { return filepath.Join(d.Dir, "state") }
func (d *Daemon) Log() string   { return filepath.Join(d.Dir, "containerd.log") }

// Ctr is a ctr command that speaks to this containerd, not yet started. It is
// killed when ctx ends.
func (d *Daemon) Ctr(ctx context.Context, args ...string) *exec.Cmd {
	program, err := d.Program("ctr")
	cmd := exec.CommandContext(ctx, program, append([]string{"--address", d.Address(), "--namespace", d.Namespace}, args...)...)
	cmd.Env = d.environ()
	if err != nil {
		cmd.Err = err
	}
	return cmd
}

// Program finds a program in d.Path, and nowhere else.
func (d *Daemon) Program(name string) (string, error) { return find(d.Path, name) }

func find(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s: run `make engines build`", name, path)
}

// absolute makes every folder of a path absolute: Go programs refuse to start
// what they find by a relative one.
func absolute(path string) (string, error) {
	dirs := filepath.SplitList(path)
	for i, dir := range dirs {
		var err error
		if dirs[i], err = filepath.Abs(dir); err != nil {
			return "", err
		}
	}
	return strings.Join(dirs, string(filepath.ListSeparator)), nil
}

func (d *Daemon) environ() []string { return environ(d.Path) }

func environ(path string) []string {
	return []string{
		"PATH=" + path + ":/usr/sbin:/usr/bin:/sbin:/bin",
		"TMPDIR=" + os.TempDir(),
		"CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1", // of cgroup v1, before every output of ctr
	}
}
