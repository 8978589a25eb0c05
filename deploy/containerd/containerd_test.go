package containerd

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/typeurl/v2"
	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
)

// shown is an option that is there as a comment, or the table that it is in.
var shown = regexp.MustCompile(`(?m)^( +)# (\w+ = .*|\[plugins.*\])$`)

// TestOptions has the shim read the options that the files show in comments, which
// have to be all there are, with their defaults. The files themselves have none.
func TestOptions(t *testing.T) {
	for name, text := range map[string]string{"V2": V2, "V3": V3} {
		if strings.Contains(shown.ReplaceAllString(text, ""), ".options]") {
			t.Errorf("%s has a table of options", name)
		}
		got := read(t, name, shown.ReplaceAllString(text, "$1$2"))
		dir, size := options.Options{}.Cache()
		want := options.Options{
			CacheDir: dir, CacheSize: options.Size(size), CompileTimeout: options.Duration(options.Options{}.CompileLimit()),
			Annotations: []string{},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the options are %+v, and their defaults %+v", name, got, want)
		}
		if keys := len(shown.FindAllString(text, -1)) - 1; keys != reflect.TypeFor[options.Options]().NumField() {
			t.Errorf("%s has %d options; the shim knows others", name, keys)
		}
	}
}

// read goes the way of containerd: from the file's table to the shim's input.
func read(t *testing.T, name, text string) options.Options {
	t.Helper()
	var config struct {
		Plugins map[string]struct {
			Containerd struct {
				Runtimes map[string]struct {
					Options map[string]any `toml:"options"`
				} `toml:"runtimes"`
			} `toml:"containerd"`
		} `toml:"plugins"`
	}
	if err := toml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var body []byte
	for _, plugin := range config.Plugins {
		var err error
		if body, err = toml.Marshal(plugin.Containerd.Runtimes["wasm"].Options); err != nil {
			t.Fatal(err)
		}
	}
	packed, err := typeurl.MarshalAny(&runtimeoptions.Options{ConfigBody: body})
	if err != nil {
		t.Fatal(err)
	}
	o, err := options.FromAny(packed)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return o
}
