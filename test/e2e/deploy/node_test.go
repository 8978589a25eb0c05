package deploy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// node is a root file system with a containerd that runs in it.
type node struct {
	root   string
	daemon *exec.Cmd // nil while it is stopped
}

// newNode makes a node with containerd's programs in /usr/local/bin and those
// files, and starts containerd there.
func newNode(t *testing.T, release string, files map[string]string) *node {
	t.Helper()
	root, err := os.MkdirTemp(dir, "node-")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{root: root}
	for _, folder := range []string{"proc", "sys", "dev", "run", "tmp", "etc/containerd", "var/lib", "opt", "usr/local/bin"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// A root file system is a mount of its own, or nothing in it could pivot.
	n.mount(t, root, "")
	for _, folder := range []string{"proc", "sys", "dev"} {
		n.mount(t, "/"+folder, folder)
	}
	for _, program := range []string{"containerd", "ctr", "runc", "containerd-shim-runc-v2"} {
		place := filepath.Join(root, "usr/local/bin", program)
		var content []byte
		if program == "runc" {
			// It executes itself from an overlay on its folder, which mounts are not in.
			var err error
			if content, err = os.ReadFile(find(t, release, program)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(place, content, 0o755); err != nil {
			t.Fatal(err)
		}
		if content != nil {
			continue
		}
		n.mount(t, find(t, release, program), "usr/local/bin/"+program)
	}
	all := map[string]string{"etc/hosts": "127.0.0.1 localhost\n", "etc/hostname": "node\n", "etc/resolv.conf": ""}
	maps.Copy(all, files)
	for path, content := range all {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n.start(t)
	t.Cleanup(func() { n.stop(t) })
	return n
}

func (n *node) mount(t *testing.T, from, to string) {
	t.Helper()
	to = filepath.Join(n.root, to)
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		t.Fatalf("mount %s on %s: %v", from, to, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(to, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", to, err)
		}
	})
}

// find finds a program of a release, or else one of E2E_BIN.
func find(t *testing.T, release, program string) string {
	t.Helper()
	for _, folder := range append([]string{release}, filepath.SplitList(os.Getenv("E2E_BIN"))...) {
		path, err := filepath.Abs(filepath.Join(folder, program))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("no %s in %s or E2E_BIN; run `make test-deploy`", program, release)
	return ""
}

// inside is a command of the node's.
func (n *node) inside(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/usr/local/bin/"+program, args...)
	cmd.Err = nil // it is not looked for here
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: n.root}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin", "CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1"}
	return cmd
}

func (n *node) must(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := n.inside(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

func (n *node) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(n.root+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.daemon = n.inside(context.Background(), "containerd")
	n.daemon.Stdout, n.daemon.Stderr = log, log
	if err := n.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	socket := n.path("/run/containerd/containerd.sock")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if out, err := n.inside(t.Context(), "ctr", "version").CombinedOutput(); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("containerd at %s does not answer after 30 s: %s\n%s", socket, out, n.log(t))
		}
	}
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	if n.daemon == nil {
		return
	}
	n.daemon.Process.Signal(syscall.SIGTERM)
	if err := n.daemon.Wait(); err != nil {
		t.Logf("containerd: %v", err)
	}
	n.daemon = nil
}

func (n *node) log(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(n.root + ".log")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "the end of containerd's log:\n" + strings.Join(lines[max(0, len(lines)-20):], "\n")
}

func (n *node) path(name string) string { return filepath.Join(n.root, name) }

// installer runs the installer as a container of a DaemonSet would. A node
// without systemd asks for a restart, which it gets if that is wanted.
func (n *node) installer(t *testing.T, restart bool, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	program := find(t, "", "wasm-node-installer")
	flags := []string{args[0], "-host", n.root}
	if args[0] == "install" {
		flags = append(flags, "-programs", filepath.Dir(program))
	}
	args = append(flags, args[1:]...)
	cmd := exec.CommandContext(ctx, program, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		output += lines.Text() + "\n"
		if restart && strings.Contains(lines.Text(), "start containerd again now") {
			n.stop(t)
			n.start(t)
		}
	}
	err = cmd.Wait()
	output += errs.String()
	if ctx.Err() != nil {
		t.Fatalf("the installer hangs: %s", output)
	}
	t.Logf("wasm-node-installer %s:\n%s", args[0], output)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return output, err
}

// look reads the node's files, all but what containerd keeps of images, of
// containers and of the moment.
func (n *node) look(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, top := range []string{"etc", "opt", "usr", "var"} {
		err := filepath.WalkDir(n.path(top), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if path == n.path("/var/lib/containerd") {
				return fs.SkipDir
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			content := info.Mode().String()
			if d.Type().IsRegular() && !strings.HasPrefix(path, n.path("usr")) {
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				content += "\n" + string(data)
			}
			found[strings.TrimPrefix(path, n.root)] = content
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// same fails if there is a difference between two looks.
func same(t *testing.T, was, is map[string]string) {
	t.Helper()
	for path := range was {
		if is[path] != was[path] {
			t.Errorf("%s was\n%.2000s\nand is\n%.2000s", path, was[path], is[path])
		}
	}
	for path := range is {
		if _, ok := was[path]; !ok {
			t.Errorf("%s is left behind", path)
		}
	}
}
