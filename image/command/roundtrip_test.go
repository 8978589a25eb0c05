package command

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
)

// places names a new place of each kind.
func places(t *testing.T) []string {
	dir := t.TempDir()
	return []string{
		"oci:" + dir + "/layout@example.org/app:1",
		"tar:" + dir + "/image.tar@example.org/app:1",
		serve(t, nil) + "/app:1",
	}
}

// TestRoundTrips takes an image from every form to every other, and from every
// place to another, and back: it is the same then, to the byte.
func TestRoundTrips(t *testing.T) {
	file := module(t)
	for _, first := range form.All {
		for _, second := range form.All {
			for i := range places(t) {
				from, to, back := places(t)[i], places(t)[(i+1)%3], places(t)[i]
				digest := must(t, "build", "--form", string(first), file, from)
				must(t, "convert", "--form", string(second), from, to)
				if again := must(t, "convert", to, "--form", string(first), back); again != digest {
					t.Errorf("%s in %s, %s in %s and back: %s became %s", first, from, second, to, digest, again)
				}
			}
		}
	}
}

// TestSettings keeps all that an image can say on the way to the other form that
// has room for it.
func TestSettings(t *testing.T) {
	file, at := module(t), places(t)
	digest := must(t, "build", "--entrypoint", "/bin/app.wasm#run", "--entrypoint", "--serve", "--cmd", "8080", "--env", "A=1", "--env", "B=x=y",
		"--workdir", "/srv", "--user", "10:20", "--label", "l=1", "--annotation", "a=b", file, at[0])
	report := must(t, "inspect", at[0])
	for _, want := range []string{
		`["/bin/app.wasm#run" "--serve"]`, `["8080"]`, `["A=1" "B=x=y"]`, "/srv", "10:20", "l=1", "a=b", "yes, from its function run",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("%q is not in the report:\n%s", want, report)
		}
	}
	must(t, "convert", "--form", "layer", at[0], at[1])
	if again := must(t, "convert", at[1], at[2]); again != digest {
		t.Errorf("%s became %s", digest, again)
	}
	// Another entrypoint takes the arguments of the old one with it; variables are
	// replaced where they are.
	must(t, "convert", "--entrypoint", "/bin/app.wasm", "--env", "A=2", "--label", "m=2", at[1], at[1])
	report = must(t, "inspect", at[1])
	for _, want := range []string{`["/bin/app.wasm"]`, `["A=2" "B=x=y"]`, "l=1", "m=2", "yes, from its function _start"} {
		if !strings.Contains(report, want) {
			t.Errorf("%q is not in the report:\n%s", want, report)
		}
	}
	if strings.Contains(report, "8080") {
		t.Errorf("the old arguments are there:\n%s", report)
	}
}

func TestLosses(t *testing.T) {
	file, at := module(t), places(t)
	extra := write(t, "extra", nil)
	must(t, "build", "--entrypoint", "/app.wasm#run", "--env", "A=1", "--user", "1", "--label", "l=1", "--add", extra+":/etc/extra", file, at[0])
	fails(t, []string{"convert", "--form", "artifact", at[0], at[1]},
		at[0]+": ", "no room for the file /etc/extra, the function run", `the environment ["A=1"]`, "the user 1", "labels", "--lossy")
	fails(t, []string{"convert", "--form", "layer", at[0], at[1]}, "no room for the file /etc/extra; ")
	fails(t, []string{"build", "--form", "layer", "--add", extra + ":/x", file, at[1]}, "no room for added files", "rootfs")
	out, messages, code := try(t, "convert", "--lossy", "--form", "artifact", at[0], at[1])
	if code != 0 || !strings.Contains(messages, "given up: the file /etc/extra") {
		t.Fatalf("exit code %d: %s", code, messages)
	}
	if clean := must(t, "build", "--form", "artifact", file, at[2]) + "\n"; clean != out {
		t.Errorf("what is left is %s, not %s", out, clean)
	}
	// The variable that Docker's builder always sets is none.
	must(t, "build", "--env", "PATH=/bin", file, at[0])
	must(t, "convert", "--form", "artifact", at[0], at[1])
}

// TestReproducible builds one image twice, at different times and of different
// folders.
func TestReproducible(t *testing.T) {
	for epoch, year := range map[string]int{"": 1970, "1700000000": 2023} {
		t.Setenv("SOURCE_DATE_EPOCH", epoch)
		var archives [2][]byte
		var digests [2]string
		for i := range archives {
			at, extra := places(t)[1], write(t, "extra", []byte("x"))
			then := time.Now().Add(time.Duration(i) * time.Hour)
			if err := os.Chtimes(extra, then, then); err != nil {
				t.Fatal(err)
			}
			digests[i] = must(t, "build", "--add", extra+":/etc/extra", "--label", "b=1", "--label", "a=1", module(t), at)
			path, _, _ := strings.Cut(strings.TrimPrefix(at, "tar:"), "@")
			var err error
			if archives[i], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
			img, err := tarball.ImageFromPath(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			config, err := img.ConfigFile()
			if err != nil || config.Created.Year() != year {
				t.Errorf("made in %v, %v", config.Created, err)
			}
		}
		if digests[0] != digests[1] || !bytes.Equal(archives[0], archives[1]) {
			t.Errorf("%s and %s", digests[0], digests[1])
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	fails(t, []string{"build", module(t), places(t)[0]}, "SOURCE_DATE_EPOCH", `"yesterday"`)
}

// TestPlatforms makes an index whose images share the layer.
func TestPlatforms(t *testing.T) {
	file := module(t)
	for i, at := range places(t) {
		digest := must(t, "build", "--platform", "linux/amd64,linux/arm64/v8", "--platform", "linux/riscv64", file, at)
		report := must(t, "inspect", at)
		for _, want := range []string{"linux/amd64", "linux/arm64/v8", "linux/riscv64", "runs on the architectures that it lists"} {
			if !strings.Contains(report, want) {
				t.Errorf("%q is not in the report:\n%s", want, report)
			}
		}
		if n := strings.Count(report, "tar+gzip"); n != 3 {
			t.Errorf("%d images have layers:\n%s", n, report)
		}
		// Any of them is the program.
		single := must(t, "convert", at, places(t)[i])
		if single == digest || single != must(t, "build", file, places(t)[i]) {
			t.Errorf("%s became %s", digest, single)
		}
	}
	at := places(t)[0]
	must(t, "build", file, "--platform", "wasi/wasm", at)
	// What CRI does not unpack becomes what every engine does.
	if report := must(t, "inspect", at); !strings.Contains(report, "does not run: pulled, but not unpacked") {
		t.Error(report)
	}
	if got := must(t, "convert", at, at); got != must(t, "build", file, places(t)[0]) {
		t.Errorf("the platform was not changed: %s", got)
	}
}

// TestSeveralImages keeps images of other names in a layout, and replaces one of
// the same name.
func TestSeveralImages(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return "oci:" + dir + "@" + name }
	file := module(t)
	one := must(t, "build", file, at("one"))
	must(t, "build", file, at("docker.io/library/two:latest"), "--form", "layer")
	two := must(t, "build", file, at("two"), "--form", "artifact")
	fails(t, []string{"inspect", "oci:" + dir}, "several images", "docker.io/library/one:latest, docker.io/library/two:latest")
	fails(t, []string{"inspect", at("three")}, "no image docker.io/library/three:latest", "docker.io/library/one:latest")
	for name, digest := range map[string]string{"one": one, "two:latest": two, one: one, two: two} {
		if report := must(t, "inspect", at(name)); !strings.Contains(report, digest) {
			t.Errorf("%s is not %s:\n%s", name, digest, report)
		}
	}
}

// TestAddToImage adds a layer to an image that somebody else made.
func TestAddToImage(t *testing.T) {
	at, extra := places(t)[0], write(t, "extra", []byte("x"))
	must(t, "build", module(t), at)
	must(t, "convert", "--add", extra+":/etc/extra", at, at)
	report := must(t, "inspect", at)
	if strings.Count(report, "tar+gzip") != 2 || !strings.Contains(report, "yes, from its function _start") {
		t.Error(report)
	}
	fails(t, []string{"convert", "--form", "artifact", at, at}, "no room for the file /etc/extra")
}

// TestOldDockerArchive reads what docker save wrote before version 25.
func TestOldDockerArchive(t *testing.T) {
	file, reg := module(t), places(t)[2]
	want := must(t, "build", file, reg)
	ref, err := name.ParseReference(reg)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "saved.tar")
	one, two := name.MustParseReference("one:1").(name.Tag), name.MustParseReference("two:1").(name.Tag)
	if err := tarball.MultiWriteToFile(path, map[name.Tag]v1.Image{one: img, two: img}); err != nil {
		t.Fatal(err)
	}
	if got := must(t, "convert", "tar:"+path+"@one:1", places(t)[0]); got != want {
		t.Errorf("%s became %s", want, got)
	}
	fails(t, []string{"inspect", "tar:" + path + "@three"}, "no image docker.io/library/three:latest", "one:1")
}

// TestCredentials finds them where docker login keeps them, and says so where
// there are none.
func TestCredentials(t *testing.T) {
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "user" || password != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				http.Error(w, "", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	file := module(t)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	fails(t, []string{"build", file, host + "/app:1"}, host+"/app:1: ", "docker login "+host)
	fails(t, []string{"inspect", host + "/app:1"}, "docker login "+host)
	config := write(t, "config.json", fmt.Appendf(nil, `{"auths": {%q: {"username": "user", "password": "secret"}}}`, host))
	t.Setenv("DOCKER_CONFIG", filepath.Dir(config))
	must(t, "build", file, host+"/app:1")
	fails(t, []string{"inspect", host + "/other:1"}, host+"/other:1: ", "right name and tag")
	fails(t, []string{"build", file, host + "/app@sha256:" + strings.Repeat("0", 64)}, "give a tag")
}

// TestPipe writes an archive for a pipe, and nothing else.
func TestPipe(t *testing.T) {
	archive, messages, code := try(t, "build", module(t), "tar:-@app")
	if code != 0 || !strings.HasPrefix(messages, "sha256:") {
		t.Fatalf("exit code %d: %s", code, messages)
	}
	must(t, "inspect", "tar:"+write(t, "a.tar", []byte(archive)))
	fails(t, []string{"inspect", "tar:-"}, "tar:-: ", "give a file")
}
