package oci

import (
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// presentable fails where an error of hostile input could play with a terminal
// or fill a log.
func presentable(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the error is not printable: %q", text)
	}
	if len(text) > 20000 {
		t.Errorf("the error has %d bytes", len(text))
	}
}

// described is the descriptor of a document.
func described(mediaType string, data []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// FuzzManifest takes a manifest and chooses its layer. What is chosen can be
// read and is one of the manifest's; of an artifact it is the only one.
func FuzzManifest(f *testing.F) {
	const layer = `{"mediaType":"application/wasm","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":8,"annotations":{"org.opencontainers.image.title":"a.wasm"}}`
	for _, config := range append([]string{artifactConfig, v1.MediaTypeImageConfig, dockerConfig, "text/plain"}, silentConfigs...) {
		for _, layers := range []string{"", layer, layer + "," + layer, layer + `,{"mediaType":"x.wasm"}`, strings.ReplaceAll(layer, ":8", ":-8"), strings.ReplaceAll(layer, "e3", "\\u001b")} {
			f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"`+config+`"},"layers":[`+layers+`]}`), "/a.wasm")
		}
	}
	f.Add([]byte(`{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), "")
	f.Fuzz(func(t *testing.T, data []byte, file string) {
		m, err := parseManifest(described(v1.MediaTypeImageManifest, data), data)
		presentable(t, err)
		if err != nil {
			return
		}
		l, err := m.choose(file)
		presentable(t, err)
		_, configErr := m.hasConfig()
		presentable(t, configErr)
		wasm := 0
		for _, d := range m.Layers {
			if slices.Contains(wasmLayers, d.MediaType) {
				wasm++
			}
		}
		switch {
		case err != nil && l != nil:
			t.Error("both a layer and an error")
		case err == nil && l == nil && (wasm > 0 || m.Config.MediaType == artifactConfig):
			t.Error("a Wasm layer was passed over")
		case l == nil:
			return
		}
		if l.Digest.Validate() != nil || l.Size < 1 {
			t.Errorf("layer %+v cannot be read", l)
		}
		if !slices.ContainsFunc(m.Layers, func(d v1.Descriptor) bool {
			return d.Digest == l.Digest && d.Size == l.Size && d.MediaType == l.MediaType && slices.Contains(wasmLayers, d.MediaType)
		}) {
			t.Errorf("layer %+v is not of the manifest", l)
		}
		if m.Config.MediaType == artifactConfig && len(m.Layers) != 1 {
			t.Errorf("an artifact of %d layers was taken", len(m.Layers))
		}
		if wasm > 1 && path.Join("/", l.Title) != path.Join("/", file) {
			t.Errorf("%q is not %q, but was chosen among %d", l.Title, file, wasm)
		}
	})
}

// FuzzIndex takes an index. What comes of it is in order of rank, and neither
// invented nor lost but for attestations.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}},{"platform":{"os":"wasip1","architecture":"wasm"}},{"platform":{"os":"wasi","architecture":"wasm"}},{}]}`))
	f.Add([]byte(`{"manifests":[{"platform":{"os":"unknown","architecture":"unknown"}},{"mediaType":"application/vnd.oci.image.index.v1+json"}]}`))
	f.Add([]byte(`{"mediaType":"application/vnd.oci.image.manifest.v1+json"}`))
	f.Add([]byte(`{"manifests":[],"layers":[],"Config":{}}`))
	f.Add([]byte(`{"manifests":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := described(v1.MediaTypeImageIndex, data)
		manifests, err := parseIndex(d, data)
		presentable(t, err)
		if err != nil {
			return
		}
		var index v1.Index
		if err := json.Unmarshal(data, &index); err != nil {
			t.Fatalf("an index was taken that is none: %v", err)
		}
		kept := 0
		for _, m := range index.Manifests {
			if p := m.Platform; p == nil || p.OS != "unknown" && p.Architecture != "unknown" {
				kept++
			}
		}
		if len(manifests) != kept {
			t.Errorf("%d of %d manifests", len(manifests), kept)
		}
		if !slices.IsSortedFunc(manifests, func(a, b v1.Descriptor) int { return rank(a.Platform) - rank(b.Platform) }) {
			t.Error("not in order of rank")
		}
		if _, err := parseManifest(described(v1.MediaTypeImageManifest, data), data); err == nil && len(manifests) > 0 {
			t.Error("the same bytes are a manifest, too")
		}
	})
}

// FuzzConfig takes a configuration. What is taken is of WASI preview 1 or says
// nothing else, and of the layer.
func FuzzConfig(f *testing.F) {
	l := &Layer{Digest: digest.FromString("")}
	for _, c := range []string{
		`{"os":"wasip1","architecture":"wasm","layerDigests":["` + l.Digest.String() + `"]}`,
		`{"os":"wasip2","architecture":"wasm","component":{"exports":["wasi:http/handler"],"target":null}}`,
		`{"os":"linux","architecture":"s390x","rootfs":{"type":"layers","diff_ids":[]}}`,
		`{"component":null,"layerDigests":[]}`, `{"layerDigests":["x","y"]}`, `{"os":"\u001b"}`, `{}`, `null`, `[]`, ``,
	} {
		f.Add(true, []byte(c))
		f.Add(false, []byte(c))
	}
	f.Fuzz(func(t *testing.T, artifact bool, data []byte) {
		m := &manifest{Manifest: v1.Manifest{Config: described(v1.MediaTypeImageConfig, data)}}
		if artifact {
			m.Config.MediaType = artifactConfig
		}
		err := m.check(data, l)
		presentable(t, err)
		if err != nil {
			return
		}
		var c struct {
			OS           string          `json:"os"`
			Architecture string          `json:"architecture"`
			LayerDigests []digest.Digest `json:"layerDigests"`
			Component    any             `json:"component"`
		}
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatalf("a configuration was taken that is none: %v", err)
		}
		if !slices.Contains([]string{"", "linux", "wasi", "wasip1"}, c.OS) || strings.HasPrefix(c.OS, "wasi") && c.Architecture != "wasm" && c.Architecture != "" {
			t.Errorf("%q on %q was taken", c.OS, c.Architecture)
		}
		if artifact && (c.Component != nil || len(c.LayerDigests) > 0 && (len(c.LayerDigests) != 1 || c.LayerDigests[0] != l.Digest)) {
			t.Errorf("an artifact of something else was taken: %+v", c)
		}
	})
}

// FuzzAnnotations takes what a pod can set. Nothing that is not allowed counts.
func FuzzAnnotations(f *testing.F) {
	for _, allowed := range []bool{true, false} {
		f.Add(Prefix+"module", "/b.wasm#g", allowed)
		f.Add(Prefix+"module", "#", allowed)
		f.Add(Prefix+"modules", "x", allowed)
		f.Add(Prefix+"listen", "tcp://0.0.0.0:80,tcp://[::1]:8080", allowed)
		f.Add(crunHandler, "wasm", allowed)
		f.Add(crunVariant, "compat-smart", allowed)
		f.Add("\x1b]0;", "\x00", allowed)
	}
	f.Fuzz(func(t *testing.T, key, value string, allow bool) {
		var allowed []string
		if allow {
			allowed = annotations
		}
		got, err := readAnnotations(map[string]string{key: value}, allowed)
		presentable(t, err)
		if err != nil {
			if !reflect.DeepEqual(got, told{}) {
				t.Errorf("both %+v and an error", got)
			}
			return
		}
		if got.entry != (entry{}) && (!allow || key != Prefix+"module") {
			t.Errorf("%q counts: %+v", key, got)
		}
		if got.listen != nil && (!allow || key != Prefix+"listen") {
			t.Errorf("%q counts: %+v", key, got)
		}
		if got.wasm && !(key == crunHandler && value == "wasm" || key == crunVariant && value == "compat") {
			t.Errorf("%q = %q calls it Wasm", key, value)
		}
		if strings.HasPrefix(key, Prefix) && reflect.DeepEqual(got, told{}) {
			t.Errorf("%q is ignored", key)
		}
	})
}

// FuzzResolve takes a process. Every place of the module is an absolute, clean
// path, and the arguments are the process's.
func FuzzResolve(f *testing.F) {
	f.Add("/app.wasm#run", "-v", "/", "PATH=/bin")
	f.Add("app.wasm", "", "/srv", "PATH=:/usr/bin:relative:/bin/../x")
	f.Add("../../etc#", "x", "..", "PATH")
	f.Add("#\x1b", "\x00", "", "")
	f.Fuzz(func(t *testing.T, first, second, cwd, env string) {
		process := &specs.Process{Args: []string{first, second}, Cwd: cwd, Env: []string{env}}
		m, err := Resolve(&specs.Spec{Process: process})
		presentable(t, err)
		if process.Args[0] != first {
			t.Error("the spec was changed")
		}
		if err != nil {
			return
		}
		if len(m.Paths) == 0 {
			t.Error("no place to look")
		}
		for _, p := range m.Paths {
			if !path.IsAbs(p) || path.Clean(p) != p {
				t.Errorf("%q is not a clean absolute path", p)
			}
		}
		rebuilt := m.Args[0]
		if m.Function != "" {
			rebuilt += "#" + m.Function
		}
		if len(m.Args) != 2 || rebuilt != first || m.Args[1] != second {
			t.Errorf("%q became %+v", first, m)
		}
	})
}
