package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/image"
)

// precompiler is the command, about containerd's images and a cache of the
// test's own. It is not started yet.
type precompiler struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

func newPrecompiler(t *testing.T, options map[string]any, args ...string) *precompiler {
	t.Helper()
	program, err := engine.Program(shimProgram)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config, temp := filepath.Join(dir, "options.toml"), filepath.Join(dir, "temp")
	write(t, config, string(plan{options: options}.table()))
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), scaled(60*time.Second))
	t.Cleanup(cancel)
	p := &precompiler{Cmd: exec.CommandContext(ctx, program, append([]string{"precompile", "-config", config}, args...)...)}
	p.Cmd.Stdout, p.Cmd.Stderr = &p.stdout, &p.stderr
	p.Env = append(os.Environ(), "TMPDIR="+temp, "CONTAINERD_ADDRESS="+engine.Address(), "CONTAINERD_NAMESPACE="+engine.Namespace)
	stored := kept(t)
	t.Cleanup(func() {
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("left in the folder for temporary files: %v, %v", left, err)
		}
		// Those of images that earlier tests have removed may go at any time.
		more := kept(t)
		maps.DeleteFunc(more, func(key string, _ bool) bool { return stored[key] })
		if len(more) > 0 {
			t.Errorf("containerd has more than it had: %v", slices.Sorted(maps.Keys(more)))
		}
	})
	return p
}

// end runs the command, or waits for it if it runs, and returns what it did.
func (p *precompiler) end(t *testing.T) result {
	t.Helper()
	wait := p.Run
	if p.Process != nil {
		wait = p.Wait
	}
	if err := wait(); p.ProcessState == nil {
		t.Fatal(err)
	}
	return result{p.stdout.String(), p.stderr.String(), p.ProcessState.ExitCode()}
}

// kept are containerd's snapshots and leases.
func kept(t *testing.T) map[string]bool {
	t.Helper()
	ctx, there := namespaced(context.Background()), map[string]bool{}
	leases, err := client.LeasesService().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range leases {
		there["lease "+lease.ID] = true
	}
	err = client.SnapshotService(defaults.DefaultSnapshotter).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		there["snapshot "+info.Name] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}

// imageOf imports an image until the test's end and returns what a plan calls it.
func imageOf(t *testing.T, name string, img image.Image) string {
	t.Helper()
	img.Name = imageName(name)
	if err := importImage(filepath.Join(t.TempDir(), "image.tar"), engine.Namespace, img); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.ImageService().Delete(namespaced(context.Background()), img.Name) })
	return name
}

// TestPrecompile has images of every form compiled ahead; then no container of
// theirs compiles.
func TestPrecompile(t *testing.T) {
	leavesNothing(t)
	dir := newCache(t)
	layer := []image.Wasm{{File: guestFile("hello-as")}}
	module := "/bin/app.wasm"
	two := imageOf(t, "pre-two", image.Image{
		Files:  map[string]string{module: guestFile("args"), "/etc/app.conf": guestFile("empty")},
		Config: v1.ImageConfig{Cmd: []string{"app.wasm", "x"}},
	})
	forms := []plan{
		{guest: "hello-c"},
		{guest: two},
		{guest: imageOf(t, "pre-layer", image.Image{Wasm: layer, Config: v1.ImageConfig{Entrypoint: []string{"/app.wasm"}}})},
		{guest: imageOf(t, "pre-artifact", image.Image{Wasm: []image.Wasm{{File: guestFile("env")}}, Artifact: true}),
			artifact: true, args: []string{"/app.wasm"}},
	}
	var names []string
	for _, form := range forms {
		names = append(names, imageName(form.guest))
	}
	count := compilers()
	r := newPrecompiler(t, map[string]any{"CacheDir": dir}, names...).end(t)
	r.wantCode(t, 0)
	if n := count(); n == 0 {
		t.Error("nothing was compiled, as far as this test can see")
	}
	for i, want := range []string{"/hello-c.wasm sha256:", module + " sha256:", "layer sha256:", "layer sha256:"} {
		lines := strings.Split(r.stdout, "\n")
		if len(lines) != len(forms)+1 || !strings.HasPrefix(lines[i], names[i]+": "+want) || !strings.Contains(lines[i], ": compiled in ") {
			t.Errorf("line %d does not say that %s has been compiled: %s", i, names[i], r)
		}
	}
	for _, form := range forms {
		t.Run(form.guest, func(t *testing.T) {
			form.options = map[string]any{"CacheDir": dir}
			count := compilers()
			b := form.start(t)
			b.waitCode(t, 0)
			b.task.IO().Wait()
			if n := count(); n != 0 || b.stdout.String() == "" {
				t.Errorf("its container compiled %d times and said %q", n, b.stdout)
			}
		})
	}

	again := newPrecompiler(t, map[string]any{"CacheDir": dir}, names...).end(t)
	again.wantCode(t, 0)
	if n := strings.Count(again.stdout, ": was compiled already\n"); n != len(forms) {
		t.Errorf("%d of the images were compiled already, not %d: %s", n, len(forms), again)
	}
}

// TestPrecompileAfterContainers says the other direction: what containers have
// compiled is found.
func TestPrecompileAfterContainers(t *testing.T) {
	leavesNothing(t)
	dir := newCache(t)
	inCache("hello-c", dir).says(t, greeting(t, "hello-c"))
	r := newPrecompiler(t, map[string]any{"CacheDir": dir}, imageName("hello-c")).end(t)
	r.wantCode(t, 0)
	if !strings.HasSuffix(r.stdout, ": was compiled already\n") {
		t.Error(r)
	}
}

// TestPrecompileBySomeSnapshotter has an image that says it is unpacked by a
// snapshotter, the first in order of names, which is not there.
func TestPrecompileBySomeSnapshotter(t *testing.T) {
	leavesNothing(t)
	img, err := client.GetImage(namespaced(t.Context()), imageName(imageOf(t, "pre-moved", image.Image{
		Files: map[string]string{"/x.wasm": guestFile("hello-c")}, Config: v1.ImageConfig{Entrypoint: []string{"/x.wasm"}}})))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.Config(namespaced(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	const label = "containerd.io/gc.ref.snapshot.aufs"
	info := content.Info{Digest: config.Digest, Labels: map[string]string{label: "sha256:0"}}
	if _, err := client.ContentStore().Update(namespaced(t.Context()), info, "labels."+label); err != nil {
		t.Fatal(err)
	}
	newPrecompiler(t, map[string]any{"CacheDir": newCache(t)}, img.Name()).end(t).wantCode(t, 0)
}

// TestPrecompileErrors expects one line for each image that failed, with its
// reference and digest and what to do, and goes on with the next.
func TestPrecompileErrors(t *testing.T) {
	leavesNothing(t)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	full := mountedTemp(t, "size=64k,mode=700")
	of := func(guest string) string {
		return fmt.Sprintf("image %q (%s): ", imageName(guest), imageDigest(t, guest))
	}
	nothing := imageOf(t, "pre-nothing", image.Image{Files: map[string]string{"/x": guestFile("hello-c")}})
	missing := imageOf(t, "pre-missing", image.Image{Files: map[string]string{"/x": guestFile("hello-c")}, Config: v1.ImageConfig{Entrypoint: []string{"app"}}})
	unpacked := imageOf(t, "pre-unpacked", image.Image{
		Files: map[string]string{"/x.wasm": guestFile("count")}, Config: v1.ImageConfig{Entrypoint: []string{"/x.wasm"}}})
	forget(t, unpacked)
	for name, c := range map[string]struct {
		options map[string]any
		args    []string // the guest's name for an image that is there
		guest   string
		want    []string
	}{
		"a Linux program":   {guest: "native", want: []string{of("native"), "/native", "Linux"}},
		"a component":       {guest: "component", want: []string{of("component"), "module /component.wasm", "component"}},
		"no command":        {guest: nothing, want: []string{of(nothing), "neither Entrypoint nor Cmd"}},
		"no such file":      {guest: missing, want: []string{of(missing), "module app: no such file or directory", "/usr/bin/app, "}},
		"not unpacked":      {guest: unpacked, want: []string{of(unpacked), "not found", "pull the image again"}},
		"unknown":           {guest: "pre-unknown", want: []string{fmt.Sprintf("image %q is not in containerd's namespace %q: pull it there", imageName("pre-unknown"), engine.Namespace)}},
		"another namespace": {args: []string{"-namespace", "other"}, guest: "hello-c", want: []string{`namespace "other"`}},
		"wrong address":     {args: []string{"-address", file + ".sock"}, guest: "hello-c", want: []string{"does not answer at " + file + ".sock; it has to run, and -address names its socket"}},
		"no cache": {options: map[string]any{"CacheDir": file}, guest: "hello-c",
			want: []string{of("hello-c"), "module /hello-c.wasm: ", "cannot be kept in the folder " + file, "CacheDir"}},
		"a full disk": {options: map[string]any{"CacheDir": full}, guest: "hello-go",
			want: []string{of("hello-go"), "module /hello-go.wasm: ", "cannot be kept in the folder " + full, "no space left"}},
		"a small cache": {options: map[string]any{"CacheSize": "10KiB"}, guest: "hello-c",
			want: []string{of("hello-c"), "larger than the cache may be", "CacheSize"}},
		"a short time": {options: map[string]any{"CompileTimeout": "1ms"}, guest: "hello-go",
			want: []string{of("hello-go"), "module /hello-go.wasm: compiling took more than 1ms, as the runtime's option CompileTimeout allows: raise that\n"}},
		"an unknown option": {options: map[string]any{"Size": "1"}, guest: "hello-c", want: []string{"options.toml: unknown key Size"}},
		"no such options":   {args: []string{"-config", file + ".toml"}, guest: "hello-c", want: []string{"-config: open " + file + ".toml: no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			options := map[string]any{"CacheDir": newCache(t)}
			maps.Copy(options, c.options)
			r := newPrecompiler(t, options, append(c.args, imageName(c.guest))...).end(t)
			r.wantCode(t, 1)
			r.wantStderr(t, c.want...)
			first, _, _ := strings.Cut(r.stderr, "\n")
			if !strings.Contains(first, strings.TrimSuffix(c.want[0], "\n")) {
				t.Errorf("its first line is not the outcome: %s", r)
			}
			t.Log(r)
		})
	}
	t.Run("one of several", func(t *testing.T) {
		r := newPrecompiler(t, map[string]any{"CacheDir": newCache(t)}, imageName("component"), imageName("hello-c")).end(t)
		r.wantCode(t, 1)
		r.wantStderr(t, "1 of 2 images failed")
		if !strings.Contains(r.stdout, imageName("hello-c")+": /hello-c.wasm sha256:") {
			t.Error(r)
		}
	})
	t.Run("more than the cache holds", func(t *testing.T) {
		r := newPrecompiler(t, map[string]any{"CacheDir": newCache(t), "CacheSize": "250KiB"}, imageName("args"), imageName("env"), imageName("exit")).end(t)
		r.wantCode(t, 1)
		r.wantStderr(t, "raise the runtime's option CacheSize, which is 250KiB")
	})
}

// TestPrecompileEnds has a signal end the command while it compiles.
func TestPrecompileEnds(t *testing.T) {
	leavesNothing(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := newPrecompiler(t, map[string]any{"CacheDir": newCache(t)}, imageName("gofiles"), imageName("hello-c"))
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it has the image's files", func() bool {
			return slices.ContainsFunc(slices.Collect(maps.Keys(kept(t))), func(key string) bool { return strings.Contains(key, "wasm-precompile-") })
		})
		if err := p.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		r := p.end(t)
		r.wantCode(t, 1)
		r.wantStderr(t, fmt.Sprintf("image %q: ", imageName("gofiles")), sig.String())
		if r.stdout != "" {
			t.Errorf("it has compiled: %s", r)
		}
	}
}

// imageDigest is that of an image's manifest.
func imageDigest(t *testing.T, guest string) string {
	t.Helper()
	img, err := client.ImageService().Get(namespaced(t.Context()), imageName(guest))
	if err != nil {
		t.Fatal(err)
	}
	return img.Target.Digest.String()
}

// forget removes the snapshots of an image that has some of its own.
func forget(t *testing.T, guest string) {
	t.Helper()
	ctx := namespaced(t.Context())
	img, err := client.GetImage(ctx, imageName(guest))
	if err != nil {
		t.Fatal(err)
	}
	diffs, err := img.RootFS(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.SnapshotService(defaults.DefaultSnapshotter).Remove(ctx, diffs[0].String()); err != nil {
		t.Fatal(err)
	}
}

// mountedTemp is a file system in memory.
func mountedTemp(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}
