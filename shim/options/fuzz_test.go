package options

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/sentence"
)

// subject begins every error of this package.
const subject = "runtime options: "

// FuzzTable reads options as TOML. What is understood means the same when it is
// written down and read again.
func FuzzTable(f *testing.F) {
	for _, table := range []string{
		"", "SystemdCgroup = true\nShimCgroup = '/shims'\n", "ShimCgroup = \"\\u0000\"", "SystemdGroup = true",
		"[cache]\nsize = 1", "CacheDir = '/c'\nCacheSize = '1.5GiB'\nCompileTimeout = '1m30s'", "CacheSize = '9e99'", "CacheSize = ''", "CompileTimeout = '-1s'", "Annotations = ['a', \"\\n\"]", "Annotations = []", "SystemdCgroup = 'yes'", "{", "\"a\\nb\" = 1", "SystemdCgroup = true\nSystemdCgroup = false",
	} {
		f.Add([]byte(table))
	}
	f.Fuzz(func(t *testing.T, table []byte) {
		value, err := proto.Marshal(&runtimeoptions.Options{ConfigBody: table})
		if err != nil {
			t.Fatal(err)
		}
		options, err := FromAny(&anypb.Any{TypeUrl: genericName, Value: value})
		if err != nil {
			sentence.Check(t, err, subject+"config_body: ")
			return
		}
		again := fmt.Sprintf("SystemdCgroup = %v\nShimCgroup = %s\nCacheDir = %s\n",
			options.SystemdCgroup, quoteTOML(options.ShimCgroup), quoteTOML(options.CacheDir))
		if options.CacheSize != 0 {
			again += fmt.Sprintf("CacheSize = \"%d\"\n", options.CacheSize)
		}
		if options.CompileTimeout != 0 {
			again += fmt.Sprintf("CompileTimeout = \"%s\"\n", time.Duration(options.CompileTimeout))
		}
		if options.Annotations != nil {
			var names []string
			for _, name := range options.Annotations {
				names = append(names, quoteTOML(name))
			}
			again += "Annotations = [" + strings.Join(names, ", ") + "]\n"
		}
		if dir, size := options.Cache(); dir == "" || size <= 0 || options.CompileLimit() <= 0 {
			t.Errorf("%+v bounds nothing", options)
		}
		if same, err := fromTOML("again", []byte(again)); err != nil || !reflect.DeepEqual(same, options) {
			t.Errorf("%+v, written as %q, is read as %+v, %v", options, again, same, err)
		}
	})
}

// quoteTOML writes a basic string: TOML 1.0, "String".
func quoteTOML(s string) string {
	quoted := ""
	for _, r := range s {
		quoted += fmt.Sprintf("\\U%08X", r)
	}
	return `"` + quoted + `"`
}

// FuzzFromAny reads options of any type.
func FuzzFromAny(f *testing.F) {
	add := func(url string, m proto.Message) {
		value, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(url, value)
	}
	add(genericName, &runtimeoptions.Options{TypeUrl: "x", ConfigBody: []byte("SystemdCgroup = true")})
	add("type.googleapis.com/"+genericName, &runtimeoptions.Options{})
	add(runcName, &runcoptions.Options{SystemdCgroup: true, ShimCgroup: "/s", BinaryName: "runc", IoUid: 1})
	add(runcName, &runcoptions.Options{NoPivotRoot: true})
	f.Add("", []byte{})
	f.Add("a\nb", []byte{1})
	f.Fuzz(func(t *testing.T, url string, value []byte) {
		var generic runtimeoptions.Options
		if proto.Unmarshal(value, &generic) == nil && generic.ConfigPath != "" {
			return // any file of this machine
		}
		packed := &anypb.Any{TypeUrl: url, Value: value}
		options, err := FromAny(packed)
		if err != nil {
			sentence.Check(t, err, subject)
			if !reflect.DeepEqual(options, Options{}) {
				t.Errorf("with an error there is %+v", options)
			}
			return
		}
		if !Understood(packed) && url+string(value) != "" {
			t.Errorf("%q is read and not understood", url)
		}
		if again, err := FromAny(packed); err != nil || !reflect.DeepEqual(again, options) {
			t.Errorf("read again, %+v is %+v, %v", options, again, err)
		}
		var runc runcoptions.Options
		if messageName(packed) == runcName && proto.Unmarshal(value, &runc) == nil && runc.NoPivotRoot {
			t.Error("NoPivotRoot was let through")
		}
	})
}
