package command

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/docs"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
)

// TestUsage tells apart what was asked for and what makes no sense.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", 2, "wasm-image build   [flags] MODULE.wasm PLACE"},
		{"help", 0, "A PLACE is one of these"},
		{"build -h", 0, "usage: wasm-image build [flags] MODULE.wasm PLACE"},
		{"make", 2, `no command "make"`},
		{"build app.wasm", 2, "1 arguments given, but it takes MODULE.wasm and PLACE"},
		{"build --frm x", 2, "wasm-image build -h lists the flags"},
		{"build --form oci a b", 2, `no form "oci"; there are rootfs, layer and artifact`},
		{"build --platform linux a b", 2, "write OS/ARCHITECTURE"},
		{"build --label x a b", 2, "write NAME=VALUE"},
		{"build --add x a b", 2, "write SOURCE:PLACE"},
	} {
		out, messages, code := try(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+messages, c.want) {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s%s", c.args, code, c.code, c.want, out, messages)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	file, at := module(t), places(t)
	full := t.TempDir()
	if err := os.WriteFile(full+"/mine", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"/nothing/here.wasm", at[0]}, "open /nothing/here.wasm: no such file"},
		{[]string{write(t, "a.wasm", []byte("#!/bin/sh")), at[0]}, "a.wasm is not a WebAssembly module: it looks like a script"},
		{[]string{write(t, "c.wasm", []byte("\x00asm\x0d\x00\x01\x00")), at[0]}, "is a WebAssembly component"},
		{[]string{file, "NotAReference"}, `"NotAReference" is neither oci:FOLDER`},
		{[]string{file, "oci:"}, "names no file"},
		{[]string{file, "oci:/tmp/x@UPPER"}, "the name of an image"},
		{[]string{file, "tar:/tmp/x.tar"}, "tar:/tmp/x.tar@example.org/app:1"},
		{[]string{file, "tar:/nothing/here/x.tar@app"}, "/nothing/here/x.tar"},
		{[]string{file, "tar:/dev/null@app"}, "/dev/null is not a regular file; for the standard output, write tar:-@"},
		{[]string{file, "oci:" + full}, "not empty, and no OCI image layout"},
		{[]string{"--entrypoint", "/app.wasm#", file, at[0]}, "nothing after the '#'"},
		{[]string{"--entrypoint", "/etc/../..", file, at[0]}, `"/" is not a place in a container`},
		{[]string{"--env", "A", file, at[0]}, `"A" is not of the form NAME=value`},
		{[]string{"--workdir", "srv", file, at[0]}, `"srv" is not absolute`},
		{[]string{"--add", file + ":/../etc/passwd", file, at[0]}, "absolute path"},
		{[]string{"--add", file + ":/app.wasm", file, at[0]}, "the module: /app.wasm is added twice"},
	} {
		fails(t, append([]string{"build"}, c.args...), "wasm-image build: ", c.want)
	}
}

// TestEntrypointIsNoModule names what an image has in the module's place.
func TestEntrypointIsNoModule(t *testing.T) {
	at := places(t)[0]
	must(t, "build", "--add", write(t, "x", []byte("#!/bin/sh"))+":/run.sh", module(t), at)
	fails(t, []string{"convert", "--entrypoint", "/run.sh", at, at}, at+": its entrypoint /run.sh is not a WebAssembly module: it looks like a script")
	fails(t, []string{"convert", "--entrypoint", "app", "--env", "PATH=/bin", at, at}, `its entrypoint "app" is none of its files; it was looked for at /bin/app, /app`)
	if report := must(t, "inspect", at); !strings.Contains(report, "yes, from its function _start") {
		t.Error(report)
	}
}

// layout is a folder that somebody made by hand.
type layout struct {
	t   *testing.T
	dir string
}

func newLayout(t *testing.T) layout {
	l := layout{t, t.TempDir()}
	if err := os.MkdirAll(l.dir+"/blobs/sha256", 0o755); err != nil {
		t.Fatal(err)
	}
	return l
}

type object = map[string]any

// blob writes a blob and returns its descriptor.
func (l layout) blob(mediaType string, data []byte) object {
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	if err := os.WriteFile(filepath.Join(l.dir, "blobs/sha256", sum), data, 0o644); err != nil {
		l.t.Fatal(err)
	}
	return object{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(data)}
}

func (l layout) json(mediaType string, value any) object {
	data, err := json.Marshal(value)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, data)
}

func (l layout) manifest(config object, layers ...object) object {
	return l.json(manifestType, object{"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": layers})
}

func (l layout) index(manifests ...object) string {
	data, err := json.Marshal(object{"schemaVersion": 2, "manifests": manifests})
	if err == nil {
		err = os.WriteFile(l.dir+"/index.json", data, 0o644)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return "oci:" + l.dir
}

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	wasmConfig   = "application/vnd.wasm.config.v0+json"
)

// TestHostileImages are refused with a reason, and without reading more than
// what is sensible.
func TestHostileImages(t *testing.T) {
	wasm, err := os.ReadFile(module(t))
	if err != nil {
		t.Fatal(err)
	}
	with := func(d object, key string, value any) object {
		d[key] = value
		return d
	}
	for _, c := range []struct {
		name string
		make func(l layout) string
		want string
	}{
		{"no layout", func(l layout) string { return "oci:" + l.dir }, "no OCI image layout"},
		{"empty index", func(l layout) string { return l.index() }, "holds no image"},
		{"missing manifest", func(l layout) string {
			return l.index(object{"mediaType": manifestType, "digest": "sha256:" + strings.Repeat("0", 64), "size": 2})
		}, "is missing"},
		{"giant manifest", func(l layout) string { return l.index(l.blob(manifestType, make([]byte, 5<<20))) }, "at most 4194304 are read"},
		{"giant index.json", func(l layout) string {
			os.WriteFile(l.dir+"/index.json", make([]byte, 5<<20), 0o644)
			return "oci:" + l.dir
		}, "at most 4194304 are read"},
		{"giant configuration", func(l layout) string {
			return l.index(l.manifest(with(l.blob(configType, nil), "size", 1<<40), l.blob("application/wasm", wasm)))
		}, "at most 4194304 are read"},
		{"giant module", func(l layout) string {
			return l.index(l.manifest(l.blob(wasmConfig, []byte("{}")), with(l.blob("application/wasm", wasm), "size", 1<<40)))
		}, "a module has at most"},
		{"wrong size", func(l layout) string {
			return l.index(l.manifest(l.blob(wasmConfig, []byte("{}")), with(l.blob("application/wasm", wasm), "size", 9)))
		}, fmt.Sprintf("has %d bytes, not the 9", len(wasm))},
		{"damaged", func(l layout) string {
			d := l.blob("application/wasm", wasm)
			bad := bytes.Clone(wasm)
			bad[len(bad)-1]++
			os.WriteFile(l.dir+"/blobs/sha256/"+strings.TrimPrefix(d["digest"].(string), "sha256:"), bad, 0o644)
			return l.index(l.manifest(l.blob(wasmConfig, []byte("{}")), d))
		}, "is damaged"},
		{"digest as a path", func(l layout) string {
			return l.index(object{"mediaType": manifestType, "digest": "sha256:../../../../etc/passwd", "size": 2})
		}, "index.json: "},
		{"symbolic link out of the folder", func(l layout) string {
			d := l.blob(manifestType, []byte("{}"))
			file := l.dir + "/blobs/sha256/" + strings.TrimPrefix(d["digest"].(string), "sha256:")
			os.Remove(file)
			os.Symlink(write(l.t, "outside", []byte("{}")), file)
			return l.index(d)
		}, "path escapes"},
		{"FIFO", func(l layout) string {
			unix.Mkfifo(l.dir+"/index.json", 0o600)
			return "oci:" + l.dir
		}, "not a regular file"},
		{"nested without end", func(l layout) string {
			d := l.manifest(l.blob(wasmConfig, []byte("{}")), l.blob("application/wasm", wasm))
			for range 5 {
				d = l.json(indexType, object{"schemaVersion": 2, "manifests": []object{d}})
			}
			return l.index(d)
		}, "nested deeper than 3"},
		{"many images", func(l layout) string {
			d := l.manifest(l.blob(wasmConfig, []byte("{}")), l.blob("application/wasm", wasm))
			var all []object
			for range 200 {
				all = append(all, d)
			}
			return l.index(l.json(indexType, object{"schemaVersion": 2, "manifests": all}))
		}, "more than 200 entries"},
		{"indexes of nothing", func(l layout) string {
			d := l.json(indexType, object{"schemaVersion": 2, "manifests": []object{}})
			for range 2 {
				var all []object
				for range 1000 {
					all = append(all, d)
				}
				d = l.json(indexType, object{"schemaVersion": 2, "manifests": all})
			}
			return l.index(d)
		}, "more than 200 entries"},
		{"no manifest at all", func(l layout) string { return l.index(l.blob("text/plain", []byte("x"))) }, `not an image but a "text/plain"`},
		{"two modules", func(l layout) string {
			return l.index(l.manifest(l.blob(wasmConfig, []byte("{}")), l.blob("application/wasm", wasm), l.blob("application/wasm", wasm)))
		}, "2 Wasm layers"},
		{"mixed layers", func(l layout) string {
			return l.index(l.manifest(l.blob(configType, []byte("{}")), l.blob("application/wasm", wasm), l.blob("application/vnd.oci.image.layer.v1.tar", nil)))
		}, "different kinds"},
		{"another artifact", func(l layout) string {
			return l.index(l.manifest(l.blob("application/vnd.cncf.helm.config.v1+json", []byte("{}")), l.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", nil)))
		}, "no image of a Wasm module"},
		{"no module in the layer", func(l layout) string {
			return l.index(l.manifest(l.blob(wasmConfig, []byte("{}")), l.blob("application/wasm", []byte("\x7fELF"))))
		}, "is not a WebAssembly module: it looks like a Linux program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := c.make(newLayout(t))
			fails(t, []string{"convert", from, places(t)[1]}, from, c.want)
		})
	}
}

func TestHostileArchives(t *testing.T) {
	var many, compressed bytes.Buffer
	w := tar.NewWriter(&many)
	for i := range 1<<16 + 1 {
		w.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg})
	}
	w.Close()
	compressed.WriteString("\x1f\x8b" + strings.Repeat("x", 1000))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"many files":    {many.Bytes(), "more than 65536 files"},
		"compressed":    {compressed.Bytes(), "gunzip"},
		"another's tar": {tarOf("README", "hello"), "no archive of an image"},
		"no JSON":       {tarOf("manifest.json", "hello"), "manifest.json: "},
		"no config":     {tarOf("manifest.json", `[{"Config": "../../etc/passwd"}]`), `"../../etc/passwd", which is missing`},
	} {
		t.Run(name, func(t *testing.T) {
			from := "tar:" + write(t, "a.tar", c.data)
			fails(t, []string{"inspect", from}, from, c.want)
		})
	}
}

func tarOf(name, content string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content))})
	w.Write([]byte(content))
	w.Close()
	return b.Bytes()
}

// TestHostileRegistry answers with a manifest of several megabytes, and with one
// that promises a configuration of a terabyte.
func TestHostileRegistry(t *testing.T) {
	manifests := map[string]string{
		"/v2/giant/manifests/1": strings.Repeat(" ", 5<<20),
		"/v2/config/manifests/1": `{"schemaVersion": 2, "layers": [], "config": {"mediaType": "` + configType +
			`", "size": 1099511627776, "digest": "sha256:` + strings.Repeat("0", 64) + `"}}`,
	}
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, ok := manifests[r.URL.Path]
			if !ok {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", manifestType)
			fmt.Fprint(w, text)
		})
	})
	for _, name := range []string{"giant", "config"} {
		fails(t, []string{"inspect", host + "/" + name + ":1"}, host+"/"+name+":1: ", "at most 4194304 are read")
	}
}

// TestInspectIsHarmless keeps an image from writing to the terminal what it obeys.
func TestInspectIsHarmless(t *testing.T) {
	at := places(t)[0]
	evil := "\x1b]0;owned\x07\n"
	must(t, "build", "--label", "l="+evil, "--annotation", "a="+evil, "--entrypoint", "/app.wasm", "--cmd", evil, "--user", evil, module(t), at)
	if report := must(t, "inspect", at); strings.ContainsAny(report, "\x1b\x07") || !strings.Contains(report, `\x1b]0;owned`) {
		t.Errorf("%q", report)
	}
	l := newLayout(t)
	img := l.manifest(l.blob(wasmConfig, []byte("{}")))
	img["annotations"] = object{"org.opencontainers.image.ref.name": evil}
	_, messages, _ := try(t, "inspect", l.index(img)+"@other")
	if strings.ContainsAny(messages, "\x1b\x07") || !strings.Contains(messages, `\x1b]0;owned`) {
		t.Errorf("%q", messages)
	}
}

// TestAttestations are passed over: Docker's builder puts them beside images,
// and so makes an index of a single image.
func TestAttestations(t *testing.T) {
	l := layout{t, t.TempDir()}
	must(t, "build", "--platform", "wasi/wasm", module(t), "oci:"+l.dir)
	data, err := os.ReadFile(l.dir + "/index.json")
	if err != nil {
		t.Fatal(err)
	}
	var built struct{ Manifests []object }
	if err := json.Unmarshal(data, &built); err != nil {
		t.Fatal(err)
	}
	attestation := l.manifest(l.blob(configType, []byte("{}")), l.blob("application/vnd.in-toto+json", []byte("{}")))
	attestation["platform"] = object{"os": "unknown", "architecture": "unknown"}
	from := l.index(l.json(indexType, object{"manifests": append(built.Manifests, attestation)}))
	report := must(t, "inspect", from)
	if strings.Contains(report, "in-toto") || !strings.Contains(report, "no match for platform in manifest") {
		t.Error(report)
	}
	if got := must(t, "convert", from, places(t)[0]); got != must(t, "build", module(t), places(t)[0]) {
		t.Errorf("it became %s", got)
	}
}

// TestDifferentImages does not choose among programs.
func TestDifferentImages(t *testing.T) {
	l := layout{t, t.TempDir()}
	one := must(t, "build", module(t), "oci:"+l.dir+"@one")
	two := must(t, "build", "--cmd", "x", "--add", write(t, "x", nil)+":/x", "--platform", "linux/arm64", module(t), "oci:"+l.dir+"@two")
	data, err := os.ReadFile(l.dir + "/index.json")
	if err != nil {
		t.Fatal(err)
	}
	from := l.index(l.blob(indexType, data))
	fails(t, []string{"convert", from, places(t)[0]}, "different images: linux/amd64 "+one+", linux/arm64 "+two, "after an @")
	for _, digest := range []string{one, two} {
		if got := must(t, "inspect", from+"@"+digest); !strings.Contains(got, digest) {
			t.Errorf("%s is not in\n%s", digest, got)
		}
	}
	fails(t, []string{"inspect", from + "@sha256:" + strings.Repeat("0", 64)}, "holds no image sha256:0000")
}

// TestManualsTable holds docs/images.md to what inspect says. With UPDATE=1 it
// writes the table there.
func TestManualsTable(t *testing.T) {
	const file, begin, end = "../../docs/images.md", "<!-- forms:begin -->\n", "<!-- forms:end -->"
	head, rest, ok := strings.Cut(docs.Images, begin)
	old, tail, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s has no %q and %q", file, begin, end)
	}
	if old == form.Table() {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("the table in %s is not the one of this program; `UPDATE=1 go test ./image/command` writes it", file)
	}
	if err := os.WriteFile(file, []byte(head+begin+form.Table()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
