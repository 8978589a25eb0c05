package e2e

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// The files suite_*_test.go ask of a runtime what the integration suite of
// containerd's own client asks (integration/client of containerd v2.4.2). Their
// tests are called TestClient….

// toolbox is the name of an image that holds many guests, for containers in
// which more than one of them runs, an /etc/passwd with the user guest, and the
// folders that containerd's default mounts need where the root is read-only.
const toolbox = "toolbox"

const (
	guestUID = 1234
	guestGID = 5678
)

var makeToolbox = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp(engine.Dir, "toolbox-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files := map[string]string{}
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/:\nguest:x:1234:5678::/:\n",
		"group":  "root:x:0:\nguests:x:5678:\nothers:x:5679:guest\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		files["/etc/"+name] = file
	}
	for _, folder := range []string{"dev", "proc", "run", "sys"} {
		files["/"+folder+"/of-the-image"] = filepath.Join(dir, "passwd")
	}
	for _, guest := range []string{"cat", "exit", "files", "sleep"} {
		files["/"+guest+".wasm"] = filepath.Join(os.Getenv("E2E_GUESTS"), guest+".wasm")
	}
	return importImage(filepath.Join(dir, "toolbox.tar"), engine.Namespace, image.Image{
		Name:   imageName(toolbox),
		Files:  files,
		Config: v1.ImageConfig{Entrypoint: []string{"/sleep.wasm", "600000"}},
	})
})

// importImage imports an image to a namespace of the tests' containerd, by way
// of an archive.
func importImage(archive, namespace string, img image.Image) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer os.Remove(archive)
	defer f.Close()
	if err := image.Write(f, img); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), scaled(30*time.Second))
	defer cancel()
	cmd := engine.Ctr(ctx, "--namespace", namespace, "image", "import", archive)
	return cmd.Run()
}

// tool plans a container of the toolbox that runs one of its guests.
func tool(t *testing.T, args ...string) plan {
	t.Helper()
	if err := makeToolbox(); err != nil {
		t.Fatalf("make the image %s: %v", toolbox, err)
	}
	return plan{guest: toolbox, spec: []oci.SpecOpts{oci.WithProcessArgs(args...)}}
}

// sleeper starts a container in which further processes can be run.
func sleeper(t *testing.T, spec ...oci.SpecOpts) *box {
	t.Helper()
	p := tool(t, "/sleep.wasm", "600000")
	p.spec = append(p.spec, spec...)
	b := p.start(t)
	b.stdout.waitFor(t, "sleeping")
	return b
}

// spawned is a further process of a container.
type spawned struct {
	containerd.Process
	exit   <-chan containerd.ExitStatus
	stdout *output
}

// spawn makes a further process, which is not started, with the first one's
// user, environment and working directory. Its output goes to a buffer unless
// there is a creator of something else.
func (b *box) spawn(t *testing.T, id string, creator cio.Creator, args ...string) *spawned {
	t.Helper()
	ctx := namespaced(t.Context())
	spec, err := b.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	process := *spec.Process
	process.Args = args
	p := &spawned{stdout: &output{}}
	if creator == nil {
		creator = cio.NewCreator(cio.WithStreams(nil, p.stdout, p.stdout))
	}
	if p.Process, err = b.task.Exec(ctx, id, &process, creator); err != nil {
		t.Fatalf("exec %s in %s: %v", id, b.ID(), err)
	}
	if p.exit, err = p.Wait(ctx); err != nil {
		t.Fatalf("wait for exec %s in %s: %v", id, b.ID(), err)
	}
	return p
}

func (p *spawned) start(t *testing.T) *spawned {
	t.Helper()
	if err := p.Start(namespaced(t.Context())); err != nil {
		t.Fatalf("start exec %s: %v", p.ID(), err)
	}
	return p
}

// waitCode waits for the process's exit, which shall have that code.
func (p *spawned) waitCode(t *testing.T, code uint32) {
	t.Helper()
	wantExit(t, "exec "+p.ID(), p.exit, code)
}

func (p *spawned) delete(t *testing.T) {
	t.Helper()
	if _, err := p.Delete(namespaced(t.Context())); err != nil {
		t.Fatalf("delete exec %s: %v", p.ID(), err)
	}
}

// wantExit waits on a channel for an exit, which shall have that code.
func wantExit(t *testing.T, what string, exit <-chan containerd.ExitStatus, code uint32) containerd.ExitStatus {
	t.Helper()
	select {
	case status := <-exit:
		if status.Error() != nil || status.ExitCode() != code {
			t.Fatalf("%s ended with %d (%v), not %d", what, status.ExitCode(), status.Error(), code)
		}
		return status
	case <-time.After(scaled(30 * time.Second)):
		t.Fatalf("%s does not end", what)
		panic("unreachable")
	}
}

// heldIO is IO whose ends the test itself holds, as of a client that lets go of
// a task and takes it up again.
type heldIO struct {
	*cio.DirectIO
	stdout *output
	copied chan struct{} // closed at the end of the output
}

// openFIFOs makes the FIFOs of a process and collects its output.
func openFIFOs(t *testing.T) *heldIO {
	t.Helper()
	dir, err := os.MkdirTemp(engine.Dir, "fifos-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	set := cio.NewFIFOSet(cio.Config{
		Stdin:  filepath.Join(dir, "stdin"),
		Stdout: filepath.Join(dir, "stdout"),
		Stderr: filepath.Join(dir, "stderr"),
	}, nil)
	direct, err := cio.NewDirectIO(namespaced(context.Background()), set)
	if err != nil {
		t.Fatal(err)
	}
	f := &heldIO{DirectIO: direct, stdout: &output{}, copied: make(chan struct{})}
	t.Cleanup(func() { direct.Close() })
	go func() {
		defer close(f.copied)
		io.Copy(f.stdout, direct.Stdout)
	}()
	return f
}

// Cancel and Close keep the client, which calls them at a delete, from the
// test's own ends.
func (*heldIO) Cancel()      {}
func (*heldIO) Close() error { return nil }

func (f *heldIO) create(string) (cio.IO, error)       { return f, nil }
func (f *heldIO) attach(*cio.FIFOSet) (cio.IO, error) { return f, nil }

func (f *heldIO) write(t *testing.T, text string) {
	t.Helper()
	if _, err := f.Stdin.Write([]byte(text)); err != nil {
		t.Fatalf("write to stdin: %v", err)
	}
}

// ended waits for the end of the output.
func (f *heldIO) ended(t *testing.T) {
	t.Helper()
	select {
	case <-f.copied:
	case <-time.After(scaled(20 * time.Second)):
		t.Fatalf("the output has no end; so far %q", f.stdout)
	}
}

// procFile is a file of a process in /proc.
func procFile(pid uint32, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

// procStatus is a field of /proc/PID/status.
func procStatus(t *testing.T, pid uint32, field string) string {
	t.Helper()
	for line := range strings.Lines(read(t, procFile(pid, "status"))) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("process %d has no %s", pid, field)
	return ""
}

// gone says whether there is no process of that pid, not even a dead one.
func gone(pid uint32) bool { return syscall.Kill(int(pid), 0) == syscall.ESRCH }
