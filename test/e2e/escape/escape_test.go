// Package escape puts an attacker (test/escape) into a container of ours and,
// for comparison, into one of runc's, both started by `ctr run`, and keeps the
// tables of SECURITY.md.
package escape

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/escape"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/table"
)

var (
	document = flag.String("security", "", "the `file` with the tables")
	update   = flag.Bool("update", false, "write the tables")
)

func TestMain(m *testing.M) {
	dir = isolate.Enter("escape")
	flag.Parse()
	os.Exit(m.Run())
}

// dir is the test's folder, and the name of its containerd namespace.
var dir string

func keep(t *testing.T, name, text string) {
	t.Helper()
	if *document == "" {
		t.Fatal("run `make test-escape`")
	}
	if err := table.Keep(*document, name, text, *update, "make test-escape UPDATE=1"); err != nil {
		t.Error(err)
	}
}

// program is the attacker's, in the image.
const program = "/attacker"

func TestEscape(t *testing.T) {
	host := start(t)
	// By its first bytes the attacker is a Linux program, which runc would run.
	ours := []string{"--runtime", "io.containerd.wasm.v1", "--annotation", "run.oci.handler=wasm"}
	sandbox, _ := host.outcomes(t, ours)
	for _, a := range escape.Attempts {
		if !a.Deadly {
			continue
		}
		alone, err := host.outcomes(t, ours, a.Name)
		if sandbox[a.Name] = alone[a.Name]; len(alone) == 0 && strings.Contains(fmt.Sprint(err), fmt.Sprint("exit status ", 128+int(unix.SIGSYS))) {
			sandbox[a.Name] = escape.Refused
		}
	}
	const runcRuntime = "io.containerd.runc.v2"
	runc, err := host.outcomes(t, []string{"--runtime", runcRuntime, "--seccomp"})
	if err != nil {
		t.Fatal(err)
	}
	privileged, err := host.outcomes(t, []string{"--runtime", runcRuntime, "--privileged"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("| attempt | what it would give | sandbox | runc |\n|---|---|:---:|:---:|\n")
	marks := map[string]string{escape.Refused: "–", escape.LetThrough: "**through**"}
	through := 0
	for _, a := range escape.Attempts {
		if sandbox[a.Name] != escape.Refused {
			t.Errorf("%s: outcome %q in the sandbox", a.Name, sandbox[a.Name])
		}
		if marks[runc[a.Name]] == "" {
			t.Errorf("%s: no outcome under runc", a.Name)
		}
		// What never succeeds says nothing about who refuses it.
		if privileged[a.Name] != escape.LetThrough && !a.Vague {
			t.Errorf("%s: outcome %q in a privileged container", a.Name, privileged[a.Name])
		}
		if runc[a.Name] == escape.LetThrough {
			through++
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", a.Name, a.Gain, marks[sandbox[a.Name]], marks[runc[a.Name]])
	}
	fmt.Fprintf(&text, "| **let through, of %d** | | **0** | **%d** |\n", len(escape.Attempts), through)
	if !t.Failed() {
		keep(t, "escapes", text.String())
	}
}

// host is a containerd, and what its containers are given.
type host struct {
	*daemon.Daemon
	volume, secret string
	runs           int
}

const imageName = "escape.local/attacker:latest"

func start(t *testing.T) *host {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := daemon.Start(ctx, dir, os.Getenv("E2E_BIN"), filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	// In the image for both: the sandbox takes it for a module, and does not look.
	attacker, err := d.Program("attacker")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "image.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	err = image.Write(f, image.Image{
		Name:   imageName,
		Files:  map[string]string{program: attacker},
		Config: v1.ImageConfig{Entrypoint: []string{program}},
	})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := d.Ctr(ctx, "image", "import", archive).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h := &host{Daemon: d, volume: filepath.Join(dir, "volume"), secret: filepath.Join(dir, "secret")}
	if err := h.fill(); err != nil {
		t.Fatal(err)
	}
	return h
}

// fill makes the volume that escape.Volume describes.
func (h *host) fill() error {
	var root unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return err
	}
	err := errors.Join(os.Mkdir(h.volume, 0o755), os.WriteFile(h.secret, []byte("secret"), 0o644), os.Symlink(h.secret, filepath.Join(h.volume, "link")))
	for name, device := range map[string]struct {
		kind   uint32
		number uint64
	}{
		"disk": {unix.S_IFBLK, root.Dev}, "mem": {unix.S_IFCHR, unix.Mkdev(1, 1)}, "kmsg": {unix.S_IFCHR, unix.Mkdev(1, 11)},
	} {
		err = errors.Join(err, unix.Mknod(filepath.Join(h.volume, name), device.kind|0o666, int(device.number)))
	}
	return err
}

// outcomes runs a container in which the attacker makes all attempts, or one.
// The error is the container's; it is one if the attacker was killed.
func (h *host) outcomes(t *testing.T, flags []string, name ...string) (map[string]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := append([]string{"run", "--rm"}, flags...)
	args = append(args,
		"--mount", "type=bind,src="+h.volume+",dst="+escape.Volume+",options=rbind:rw",
		// As CRI does, which ctr does not.
		"--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro:nosuid:noexec:nodev",
		imageName, fmt.Sprintf("attack%d", h.runs), program, h.secret)
	h.runs++
	cmd := h.Ctr(ctx, append(args, name...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	failed := cmd.Run()
	outcomes, err := escape.Outcomes(stdout.String())
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %v\n%s%s", flags, errors.Join(err, failed), &stdout, &stderr)
	}
	return outcomes, failed
}
