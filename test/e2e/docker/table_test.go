package docker

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/table"
)

const (
	linuxImage = "test.local/linux:1"
	wasmImage  = "test.local/wasm:1"
)

// TestDocker does all that the table has under both image stores, with a Wasm
// guest and with a Linux guest at the same time.
func TestDocker(t *testing.T) {
	if *document == "" {
		t.Fatal("run `make test-docker`")
	}
	cells := map[string][]string{}
	for _, imageStore := range []bool{true, false} {
		t.Run(fmt.Sprintf("imageStore=%v", imageStore), func(t *testing.T) {
			e := start(t, *current, imageStore)
			linux := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
			for name, guest := range map[string]string{linuxImage: "docker", wasmImage: "docker.wasm"} {
				if out, code := e.load(t, name, guest, linux); code != 0 {
					t.Fatalf("load %s: %s", name, out)
				}
			}
			for i, l := range lines() {
				t.Run(l.what, func(t *testing.T) { cells[l.what] = append(cells[l.what], e.try(t, i, l)) })
			}
			for _, p := range []v1.Platform{{OS: "wasi", Architecture: "wasm"}, {OS: "wasip1", Architecture: "wasm"}} {
				what := "`--platform " + p.OS + "/" + p.Architecture + "`"
				t.Run(what, func(t *testing.T) { cells[what] = append(cells[what], e.tryPlatform(t, p)) })
			}
			e.empty(t)
		})
	}
	if t.Failed() {
		return
	}
	text := "| what a user does | containerd image store | Docker's own store |\n|---|---|---|\n"
	for _, l := range lines() {
		text += fmt.Sprintf("| %s | %s |\n", l.what, strings.Join(cells[l.what], " | "))
	}
	for _, os := range []string{"wasi", "wasip1"} {
		what := "`--platform " + os + "/wasm`"
		text += fmt.Sprintf("| %s | %s |\n", what, strings.Join(cells[what], " | "))
	}
	if err := table.Keep(*document, "docker", text, *update, "make test-docker UPDATE=1"); err != nil {
		t.Error(err)
	}
}

// try runs a line with either guest, and returns its cell.
func (e engine) try(t *testing.T, i int, l line) string {
	t.Helper()
	want := l.wasm
	if want == "" {
		want = l.linux
	}
	var both sync.WaitGroup
	for _, r := range []struct {
		runner
		want string
	}{
		{runner{e, t, "runc", linuxImage, fmt.Sprintf("linux-%d", i)}, l.linux},
		{runner{e, t, wasmRuntime, wasmImage, fmt.Sprintf("wasm-%d", i)}, want},
	} {
		both.Go(func() {
			defer e.docker(t, "rm", "--force", "--volumes", r.name)
			if got := l.run(r.runner); got != r.want {
				t.Errorf("on %s: %q, want %q", r.runtime, got, r.want)
			}
		})
	}
	both.Wait()
	if l.wasm == "" {
		return "same"
	}
	return "differs: " + l.why
}

// tryPlatform loads an image for WASI and runs it by its platform.
func (e engine) tryPlatform(t *testing.T, p v1.Platform) string {
	t.Helper()
	name := "test.local/" + p.OS + ":1"
	out, code := e.load(t, name, "docker.wasm", p)
	if !e.imageStore {
		if want := fmt.Sprintf("cannot load %s image on linux", p.OS); code == 0 || !strings.Contains(out, want) {
			t.Errorf("load: exit code %d, %q, want %q", code, out, want)
		}
		return fmt.Sprintf("not possible, `docker load`: %q", strings.TrimSpace(out))
	}
	r := runner{e, t, wasmRuntime, name, p.OS}
	if got := r.run([]string{"--platform", p.OS + "/" + p.Architecture}, "say", "hello"); got != "hello" {
		t.Errorf("%q", got)
	}
	return "runs, as without it, but without a warning"
}

// TestOldDocker is of Docker 20.10, which knows the runtimes of its configuration
// and none of containerd's.
func TestOldDocker(t *testing.T) {
	e := start(t, *old, false)
	if out, code := e.load(t, wasmImage, "docker.wasm", v1.Platform{OS: "linux", Architecture: runtime.GOARCH}); code != 0 {
		t.Fatalf("load: %s", out)
	}
	r := runner{e, t, wasmRuntime, wasmImage, "old"}
	out, code := e.docker(t, r.args("run", nil, "say", "hello")...)
	if want := "Unknown runtime specified " + wasmRuntime; code != 125 || !strings.Contains(out, want) {
		t.Errorf("exit code %d, %q, want %q", code, out, want)
	}
}
