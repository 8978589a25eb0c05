package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/bycri"
)

// manager starts systemd as a user's manager whose sockets are where those of a
// node's are. It is told of nothing but a folder of units; in the mount namespace
// that it gets, /run says that this machine was booted by systemd. Its control
// groups are below those of the test.
const manager = `
for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
	[ ! -e $root/cgroup.procs ] || { mkdir -p $root/$1 && echo $$ >$root/$1/cgroup.procs; } || exit
done
mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec /lib/systemd/systemd --user --log-target=console
`

// TestSystemd has the node's systemd start containerd again.
func TestSystemd(t *testing.T) {
	n := newNode(t, release(t, "2"), map[string]string{
		main: "version = 3\n" + importV + criV3,
		// A user's manager has no chroot of its own to give.
		"/home/.config/systemd/user/containerd.service": "[Service]\nExecStart=/usr/sbin/chroot " + dir + "/node /usr/local/bin/containerd\n",
	})
	if err := os.Symlink(n.root, filepath.Join(dir, "node")); err != nil {
		t.Fatal(err)
	}
	n.stop(t)
	systemd := exec.Command("/bin/sh", "-c", manager, "sh", filepath.Base(dir)+"/systemd")
	systemd.Env = []string{"XDG_RUNTIME_DIR=" + n.path("run"), "HOME=" + n.path("home"), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	systemd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var log strings.Builder
	systemd.Stdout, systemd.Stderr = &log, &log
	if err := systemd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		n.systemctl(t, "stop", "containerd.service")
		systemd.Process.Signal(syscall.SIGTERM)
		if err := systemd.Wait(); err != nil {
			t.Logf("systemd: %v", err)
		}
	}()
	bycri.Until(t, "systemd answers", func() bool {
		_, err := os.Stat(n.path("run/systemd/private"))
		return err == nil
	})
	was := n.look(t)

	// Nobody knows how to start it again.
	out, err := n.installer(t, false, "uninstall")
	if err == nil || !strings.Contains(out, "no containerd answers") {
		t.Errorf("without a containerd: %v: %s", err, out)
	}
	n.systemctl(t, "start", "containerd.service")
	first := n.systemctl(t, "show", "--value", "-p", "MainPID", "containerd.service")
	bycri.Until(t, "containerd answers", func() bool {
		return n.inside(t.Context(), "ctr", "version").Run() == nil
	})
	for _, command := range []string{"install", "uninstall"} {
		out, err := n.installer(t, false, command)
		if err != nil || !strings.Contains(out, "systemd has started containerd again") {
			t.Fatalf("%s: %v: %s\n%s", command, err, out, log.String())
		}
		if pid := n.systemctl(t, "show", "--value", "-p", "MainPID", "containerd.service"); pid == first {
			t.Errorf("%s: containerd is the process %s, as before", command, pid)
		} else {
			first = pid
		}
	}
	same(t, was, n.look(t))
}

func (n *node) systemctl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("systemctl", append([]string{"--user"}, args...)...)
	cmd.Env = []string{"XDG_RUNTIME_DIR=" + n.path("run"), "PATH=/usr/bin:/bin"}
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
