package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// spare is a containerd of one test's own, which may be killed. It has the same
// namespace, and so the same control groups, as the one of all tests.
type spare struct {
	*daemon.Daemon
	client *containerd.Client
	risen  int // how often it was started again
}

// newSpare starts a spare with the images of some guests. Its state is on a
// file system of stateSize bytes, or on that of the tests if that is 0. The
// test has begun with leavesNothing.
func newSpare(t *testing.T, stateSize int, guests ...string) *spare {
	t.Helper()
	dir, err := os.MkdirTemp(engine.Dir, "spare-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if stateSize > 0 {
		state := filepath.Join(dir, "state")
		if err := os.Mkdir(state, 0o711); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", state, "tmpfs", 0, fmt.Sprintf("size=%d,mode=711", stateSize)); err != nil {
			t.Fatalf("tmpfs for containerd's state: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(state, 0); err != nil {
				t.Errorf("unmount containerd's state: %v", err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), scaled(30*time.Second))
	defer cancel()
	s := &spare{}
	if s.Daemon, err = daemon.Start(ctx, dir, engine.Path, engine.Namespace); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the spare containerd and its shims logged:\n%s", worthReading(s.tail(400)))
		}
		// A shim has half a minute to tell a containerd that is away of its
		// container's end.
		for deadline := time.Now().Add(scaled(5 * time.Second)); len(ours(daemonRun)) > 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if s.client, err = containerd.New(s.Address(), containerd.WithDefaultNamespace(s.Namespace)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.Close() })
	if err := s.load(ctx, guests); err != nil {
		t.Fatalf("images for the spare containerd: %v", err)
	}
	return s
}

func (s *spare) load(ctx context.Context, guests []string) error {
	var images []image.Image
	for _, guest := range guests {
		images = append(images, image.Image{
			Name:   imageName(guest),
			Files:  map[string]string{"/" + guest + ".wasm": filepath.Join(os.Getenv("E2E_GUESTS"), guest+".wasm")},
			Config: v1.ImageConfig{Entrypoint: []string{"/" + guest + ".wasm"}},
		})
	}
	archive := filepath.Join(s.Dir, "images.tar")
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer os.Remove(archive)
	if err := errors.Join(image.Write(f, images...), f.Close()); err != nil {
		return err
	}
	if out, err := s.Ctr(ctx, "image", "import", archive).CombinedOutput(); err != nil {
		return fmt.Errorf("ctr image import: %w\n%s", err, out)
	}
	return nil
}

// die ends containerd as the kernel does when memory runs out. Containers go on.
func (s *spare) die(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatalf("kill containerd: %v", err)
	}
	eventually(t, "containerd ends", func() bool { return !s.Alive() })
}

// rise starts containerd again where it has ended. Its former log stays beside
// the new one.
func (s *spare) rise(t *testing.T) {
	t.Helper()
	s.risen++
	if err := os.Rename(s.Log(), s.formerLog()); err != nil {
		t.Fatal(err)
	}
	os.Remove(fmt.Sprintf("%s.%d", s.Log(), s.risen-3))
	ctx, cancel := context.WithTimeout(t.Context(), scaled(30*time.Second))
	defer cancel()
	d, err := daemon.Start(ctx, s.Dir, s.Path, s.Namespace)
	if err != nil {
		t.Fatalf("start containerd again: %v", err)
	}
	s.Daemon = d
	if err := s.client.Reconnect(); err != nil {
		t.Fatal(err)
	}
	// The socket is there before the services are.
	eventually(t, "containerd answers", func() bool {
		_, err := s.client.Version(ctx)
		return err == nil
	})
}

func (s *spare) formerLog() string { return fmt.Sprintf("%s.%d", s.Log(), s.risen) }

// tail is the end of the log, and of the one before it.
func (s *spare) tail(lines int) string {
	var logs string
	for _, file := range []string{s.formerLog(), s.Log()} {
		data, _ := os.ReadFile(file) // there is a former one only if it rose
		logs += string(data)
	}
	all := strings.SplitAfter(logs, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// surplus lists what containers have left behind, this containerd's bundles
// included.
func (s *spare) surplus() ([]string, error) {
	left, err := surplus()
	if err != nil {
		return nil, err
	}
	left = slices.DeleteFunc(left, func(line string) bool {
		return strings.HasPrefix(line, fmt.Sprintf("process %d ", s.Pid())) ||
			strings.HasPrefix(line, "mount ") && strings.HasSuffix(line, " "+s.State())
	})
	for _, dir := range []string{s.State(), s.Root()} {
		bundles, err := os.ReadDir(filepath.Join(dir, "io.containerd.runtime.v2.task", s.Namespace))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, b := range bundles {
			left = append(left, "bundle "+filepath.Join(dir, b.Name()))
		}
	}
	return left, nil
}

// leftNothing waits until there is no surplus, and fails the test if it stays,
// apart from what may linger.
func (s *spare) leftNothing(t *testing.T, mayLinger func(line string) bool) {
	t.Helper()
	deadline := time.Now().Add(scaled(10 * time.Second))
	for {
		left, err := s.surplus()
		if err != nil {
			t.Fatal(err)
		}
		if mayLinger != nil {
			left = slices.DeleteFunc(left, mayLinger)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind:\n\t%s", strings.Join(left, "\n\t"))
		}
		time.Sleep(5 * time.Millisecond)
	}
}
