// Package options reads what an administrator sets for the runtime: the keys of
// containerd's runtimes.NAME.options table.
package options

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/typeurl/v2"
	"github.com/pelletier/go-toml/v2"
	"google.golang.org/protobuf/proto"
)

// Options are the runtime's settings. The zero value is what holds where
// nothing is set.
type Options struct {
	// SystemdCgroup makes systemd create the containers' control groups,
	// whatever linux.cgroupsPath looks like.
	SystemdCgroup bool `toml:"SystemdCgroup"`
	// ShimCgroup is an existing control group the shim itself goes into, as a
	// path below the root of the hierarchies. Empty leaves it in containerd's.
	ShimCgroup string `toml:"ShimCgroup"`
	// CacheDir is the folder with the compiled modules, which all shims of the
	// machine share; empty is DefaultCacheDir.
	CacheDir string `toml:"CacheDir"`
	// CacheSize bounds what they have together; 0 is DefaultCacheSize.
	CacheSize Size `toml:"CacheSize"`
	// CompileTimeout bounds how long a module may take to compile; 0 is
	// DefaultCompileTimeout.
	CompileTimeout Duration `toml:"CompileTimeout"`
	// WasmOnly refuses Linux containers, except those that hold a pod's namespaces.
	// Otherwise runc runs them, in no stronger a jail than its own.
	WasmOnly bool `toml:"WasmOnly"`
	// Annotations are the names, without oci.Prefix, of the annotations by which a
	// pod may choose what it runs.
	Annotations []string `toml:"Annotations"`
}

// Defaults of the options.
const (
	DefaultCacheDir       = "/var/lib/containerd-shim-wasm-v1"
	DefaultCacheSize      = 1 << 30
	DefaultCompileTimeout = 2 * time.Minute
)

// Cache is where compiled modules are kept, and how many bytes of them.
func (o Options) Cache() (dir string, size int64) {
	return cmp.Or(o.CacheDir, DefaultCacheDir), int64(cmp.Or(o.CacheSize, DefaultCacheSize))
}

// CompileLimit is how long a module may take to compile.
func (o Options) CompileLimit() time.Duration {
	return cmp.Or(time.Duration(o.CompileTimeout), DefaultCompileTimeout)
}

// The messages in which options come.
const (
	genericName = "runtimeoptions.v1.Options"
	runcName    = "containerd.runc.v1.Options"
)

// FromAny reads the options that containerd hands to `start`, to `-info` and to
// the task's Create. No options, as nil or as an empty message, are the zero
// value. Understood are runtimeoptions.v1.Options, which carries the table as
// TOML or names a file with it, and containerd.runc.v1.Options, which containerd
// sends to any runtime for a pod with a user namespace. Of the latter,
// no_pivot_root is refused, since it would weaken the jail; the fields that say
// how to run the runc program (binary, root, keyring, CRIU) mean nothing here,
// nor do io_uid and io_gid: standard streams belong to the process's user.
func FromAny(a typeurl.Any) (Options, error) {
	if a == nil || a.GetTypeUrl() == "" && len(a.GetValue()) == 0 {
		return Options{}, nil
	}
	switch name := messageName(a); name {
	case genericName:
		var o runtimeoptions.Options
		if err := proto.Unmarshal(a.GetValue(), &o); err != nil {
			return Options{}, fmt.Errorf("runtime options: %s: %w", name, err)
		}
		return fromGeneric(&o)
	case runcName:
		var o runcoptions.Options
		if err := proto.Unmarshal(a.GetValue(), &o); err != nil {
			return Options{}, fmt.Errorf("runtime options: %s: %w", name, err)
		}
		if o.NoPivotRoot {
			return Options{}, errors.New("runtime options: NoPivotRoot is not supported: the container's process always pivots into its root file system")
		}
		return Options{
			SystemdCgroup: o.SystemdCgroup,
			ShimCgroup:    o.ShimCgroup,
		}, nil
	default:
		return Options{}, fmt.Errorf("runtime options: type %q is not understood; "+
			genericName+" and "+runcName+" are", a.GetTypeUrl())
	}
}

// Override reads the options that come with a task's Create, where o are those
// that the shim was started with. They are o's where none come; and where they are
// runc's, which cannot say all that the administrator has said.
func (o Options) Override(a typeurl.Any) (Options, error) {
	given, err := FromAny(a)
	switch {
	case err != nil:
		return Options{}, err
	case a == nil || messageName(a) != genericName:
		o.SystemdCgroup = o.SystemdCgroup || given.SystemdCgroup
		return o, nil
	}
	return given, nil
}

// Understood says whether a is of a kind that FromAny reads.
func Understood(a typeurl.Any) bool {
	name := messageName(a)
	return name == genericName || name == runcName
}

// messageName is the last part of the type's URL, which containerd writes with
// and without an authority before it.
func messageName(a typeurl.Any) string { return path.Base(a.GetTypeUrl()) }

func fromGeneric(o *runtimeoptions.Options) (Options, error) {
	// The file comes first, as the message's own documentation has it.
	if o.ConfigPath == "" {
		return fromTOML("config_body", o.ConfigBody)
	}
	return FromFile("config_path", o.ConfigPath)
}

// FromFile reads a file with the table alone, as `ctr --runtime-config-path` takes
// it. source is what has named the file, for errors.
func FromFile(source, path string) (Options, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Options{}, fmt.Errorf("runtime options: %s: %w", source, err)
	}
	return fromTOML(path, data)
}

// fromTOML decodes the table; source names it in errors. A key that is not
// known is an error, for it is a setting that somebody believes to hold.
func fromTOML(source string, data []byte) (Options, error) {
	var o Options
	err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&o)
	if err == nil && o.CacheDir != "" && !path.IsAbs(o.CacheDir) {
		return Options{}, fmt.Errorf("runtime options: %s: CacheDir: %q is not an absolute path", source, o.CacheDir)
	}
	for _, name := range o.Annotations {
		if unknown := oci.CheckAnnotation(name); err == nil && unknown != nil {
			return Options{}, fmt.Errorf("runtime options: %s: Annotations: %w", source, unknown)
		}
	}
	if err == nil {
		return o, nil
	}
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var keys []string
		for _, e := range strict.Errors {
			keys = append(keys, shown(strings.Join(e.Key(), ".")))
		}
		return Options{}, fmt.Errorf("runtime options: %s: unknown key %s; known are %s",
			source, strings.Join(keys, ", "), strings.Join(known(), ", "))
	}
	if syntax, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := syntax.Position()
		return Options{}, fmt.Errorf("runtime options: %s: line %d, column %d: %w", source, row, column, err)
	}
	return Options{}, fmt.Errorf("runtime options: %s: %w", source, err)
}

// known are the keys of the table.
func known() (keys []string) {
	for field := range reflect.TypeFor[Options]().Fields() {
		keys = append(keys, field.Tag.Get("toml"))
	}
	return keys
}

// shown is a key for an error, quoted where it holds what a line of text does not.
func shown(key string) string {
	if quoted := strconv.Quote(key); quoted != `"`+key+`"` {
		return quoted
	}
	return key
}
