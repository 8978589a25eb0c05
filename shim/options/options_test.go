package options

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// pack marshals m the way containerd does, without an authority in the URL.
func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := typeurl.MarshalAnyToProto(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "options.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFromAny(t *testing.T) {
	withAuthority, err := anypb.New(&runtimeoptions.Options{ConfigBody: []byte("SystemdCgroup = true")})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in   typeurl.Any
		want Options
	}{
		"no options":     {nil, Options{}},
		"nil message":    {(*anypb.Any)(nil), Options{}},
		"empty message":  {&anypb.Any{}, Options{}},
		"empty body":     {pack(t, &runtimeoptions.Options{}), Options{}},
		"URL authority":  {withAuthority, Options{SystemdCgroup: true}},
		"TOML body":      {pack(t, &runtimeoptions.Options{ConfigBody: []byte("SystemdCgroup = true\nShimCgroup = '/shims'\n")}), Options{SystemdCgroup: true, ShimCgroup: "/shims"}},
		"TOML file":      {pack(t, &runtimeoptions.Options{ConfigPath: file(t, "ShimCgroup = '/s'\nSystemdCgroup = true\n")}), Options{ShimCgroup: "/s", SystemdCgroup: true}},
		"file over body": {pack(t, &runtimeoptions.Options{ConfigPath: file(t, "ShimCgroup = '/s'"), ConfigBody: []byte("ShimCgroup = '/b'")}), Options{ShimCgroup: "/s"}},
		"the cache": {
			pack(t, &runtimeoptions.Options{ConfigBody: []byte("CacheDir = '/c'\nCacheSize = '64MiB'\nCompileTimeout = '1m30s'\n")}),
			Options{CacheDir: "/c", CacheSize: 64 << 20, CompileTimeout: Duration(90 * time.Second)},
		},
		"annotations": {
			pack(t, &runtimeoptions.Options{ConfigBody: []byte("Annotations = ['module']\n")}),
			Options{Annotations: []string{"module"}},
		},
		"Wasm alone": {pack(t, &runtimeoptions.Options{ConfigBody: []byte("WasmOnly = true")}), Options{WasmOnly: true}},
		"runc's": {
			pack(t, &runcoptions.Options{SystemdCgroup: true, ShimCgroup: "/s", IoUid: 1, IoGid: 2, BinaryName: "runc", Root: "/run/runc"}),
			Options{SystemdCgroup: true, ShimCgroup: "/s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FromAny(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestFromAnyRefuses(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent.toml")
	for name, c := range map[string]struct {
		in   typeurl.Any
		want string // part of the error
	}{
		"unknown type":         {&anypb.Any{TypeUrl: "runhcs.Options", Value: []byte{1}}, `"runhcs.Options"`},
		"untyped bytes":        {&anypb.Any{Value: []byte{1}}, `""`},
		"damaged message":      {&anypb.Any{TypeUrl: "runtimeoptions.v1.Options", Value: []byte{0xff}}, "runtimeoptions.v1.Options"},
		"unknown key":          {pack(t, &runtimeoptions.Options{ConfigBody: []byte("SystemdGroup = true")}), "unknown key SystemdGroup"},
		"unknown sub key":      {pack(t, &runtimeoptions.Options{ConfigBody: []byte("[cache]\nsize = 1")}), "unknown key cache"},
		"wrong kind":           {pack(t, &runtimeoptions.Options{ConfigBody: []byte("\nSystemdCgroup = 'yes'")}), "line 2"},
		"a size without sense": {pack(t, &runtimeoptions.Options{ConfigBody: []byte("CacheSize = 'much'")}), `"much" is not a size`},
		"no room":              {pack(t, &runtimeoptions.Options{ConfigBody: []byte("CacheSize = '0'")}), `"0" is not a size`},
		"no time":              {pack(t, &runtimeoptions.Options{ConfigBody: []byte("CompileTimeout = '-1s'")}), `"-1s" is not a duration`},
		"no such annotation":   {pack(t, &runtimeoptions.Options{ConfigBody: []byte(`Annotations = ["modul\u001b"]`)}), `Annotations: there is no annotation "io.containerd.wasm.v1.modul\x1b"`},
		"relative":             {pack(t, &runtimeoptions.Options{ConfigBody: []byte("CacheDir = 'cache'")}), `CacheDir: "cache" is not an absolute path`},
		"not TOML":             {pack(t, &runtimeoptions.Options{ConfigBody: []byte("{")}), "config_body: line 1"},
		"absent file":          {pack(t, &runtimeoptions.Options{ConfigPath: absent}), absent},
		"file's key":           {pack(t, &runtimeoptions.Options{ConfigPath: file(t, "a = 1")}), "options.toml: unknown key a"},
		"runc's unsafety":      {pack(t, &runcoptions.Options{NoPivotRoot: true}), "NoPivotRoot"},
		"damaged runc one":     {&anypb.Any{TypeUrl: "containerd.runc.v1.Options", Value: []byte{0xff}}, "containerd.runc.v1.Options"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FromAny(c.in)
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not contain %q", err, c.want)
			}
		})
	}
}

// TestOverride has the options of a Create beside those of the shim's start.
func TestOverride(t *testing.T) {
	base := Options{WasmOnly: true, CacheDir: "/c"}
	systemd := Options{WasmOnly: true, CacheDir: "/c", SystemdCgroup: true}
	for name, c := range map[string]struct {
		in   typeurl.Any
		want Options
	}{
		"none":          {nil, base},
		"empty message": {&anypb.Any{}, base},
		"runc's":        {pack(t, &runcoptions.Options{SystemdCgroup: true}), systemd},
		"the table":     {pack(t, &runtimeoptions.Options{ConfigBody: []byte("CacheDir = '/other'")}), Options{CacheDir: "/other"}},
	} {
		got, err := base.Override(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := base.Override(pack(t, &runcoptions.Options{NoPivotRoot: true})); err == nil {
		t.Error("an option that is refused was not")
	}
}
