package arrivals

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/daemon"
)

// docker is a Docker Engine with one of its image stores.
type docker struct {
	*daemon.Docker
	store string
}

func startDocker(t *testing.T, release string, imageStore bool) docker {
	t.Helper()
	folder, err := os.MkdirTemp(dir, "docker-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := daemon.StartDocker(ctx, folder, *engine, release+string(filepath.ListSeparator)+os.Getenv("E2E_BIN"), imageStore, filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	if imageStore {
		return docker{d, "containerd image store"}
	}
	return docker{d, "Docker's own store"}
}

// run runs a docker command, which may fail.
func (d docker) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := d.Command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("docker %q hangs: %s%s", args, out.String(), errs.String())
	}
	return out.String(), errs.String(), err
}

// platformWarning is what Docker says before it runs an image of another
// platform than the machine's that was not asked for.
const platformWarning = "WARNING: The requested image's platform"

// by is a way of Docker's, of which get is the first step. Afterwards the image is
// removed.
func (d docker) by(get string, getArgs func(s source) []string) way {
	return way{
		name:  "`docker " + get + "`",
		helps: []help{platform, command},
		run: func(t *testing.T, s source, with help) (string, *refusal) {
			defer d.forget(t, s.name)
			first := []string{get}
			run := []string{"run", "--rm", "--pull", "never", "--network", "none", "--runtime", wasmRuntime}
			if with == platform {
				first, run = append(first, "--platform", s.platform), append(run, "--platform", s.platform)
			}
			if _, says, err := d.run(t, append(first, getArgs(s)...)...); err != nil {
				return "", &refusal{"`docker " + get + "`", says}
			}
			run = append(run, s.name)
			if with == command {
				run = append(run, "app.wasm")
			}
			out, says, err := d.run(t, run...)
			if err != nil {
				return "", &refusal{"`docker run`", says}
			}
			foreign := s.platform != linux.OS+"/"+linux.Architecture
			if warns := strings.Contains(says, platformWarning); warns != (foreign && with != platform) {
				t.Errorf("%s, for %s, with --platform: %v; Docker warns of the platform: %v", s.name, s.platform, with == platform, warns)
			}
			return out, nil
		},
	}
}

// forget removes an image, if it is there.
func (d docker) forget(t *testing.T, name string) {
	t.Helper()
	d.run(t, "image", "rm", name)
	if left, _, err := d.run(t, "image", "ls", "--quiet"); left != "" || err != nil {
		t.Errorf("images are left after %s was removed: %q, %v", name, left, err)
	}
}

func (d docker) pullAndLoad() []way {
	return []way{
		d.by("pull", func(s source) []string { return []string{s.name} }),
		d.by("load", func(s source) []string { return []string{"--input", s.archive} }),
	}
}
