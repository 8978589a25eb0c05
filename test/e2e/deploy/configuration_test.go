package deploy

import (
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// What every configuration here needs on a machine of the tests; the CRI section
// of the one is that of both others of version 3.
const (
	criV2 = `[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
`
	criV3 = `[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '` + pauseImage + `'
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
`
	runtimesV2 = `[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "other"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.other]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.other.options]
      SystemdCgroup = true
`
	main    = "/etc/containerd/config.toml"
	importV = "imports = ['/etc/containerd/conf.d/*.toml']\n"
)

// TestConfigurations compares what containerd makes of its configuration before
// and after, by its own account: the runtime is there, and nothing else differs.
func TestConfigurations(t *testing.T) {
	for _, c := range []struct {
		name, release string
		files         map[string]string
	}{
		{"1.7, none", "1.7", nil},
		{"1.7, imports alone", "1.7", map[string]string{main: "version = 2\n" + importV}},
		{"1.7, CRI without runtimes", "1.7", map[string]string{main: "version = 2\n" + importV + criV2}},
		{"1.7, CRI with runtimes", "1.7", map[string]string{main: "version = 2\n" + criV2 + runtimesV2}},
		{"1.7, CRI in two files", "1.7", map[string]string{
			main: "version = 2\n" + importV + criV2, "/etc/containerd/conf.d/99-other.toml": "version = 2\n" + strings.TrimSuffix(criV2+runtimesV2, "\n"),
		}},
		{"2, none", "2", nil},
		{"2, imports", "2", map[string]string{main: "version = 4\n" + importV + criV3}},
		{"2, no imports", "2", map[string]string{main: "version = 3\n" + criV3}},
		{"2, version 2", "2", map[string]string{main: "version = 2\n" + importV + criV2 + runtimesV2}},
		{"2, version 2 and no runtimes", "2", map[string]string{main: "version = 2\n" + criV2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, release(t, c.release), c.files)
			was, before := n.look(t), n.dump(t)
			if out, err := n.installer(t, true, "install"); err != nil {
				t.Fatalf("%v: %s\n%s", err, out, n.log(t))
			}
			after := n.dump(t)
			if runtime := take(after, "wasm"); runtime["runtime_type"] != "io.containerd.wasm.v1" {
				t.Errorf("the runtime in containerd's configuration: %v", runtime)
			}
			if !reflect.DeepEqual(before, after) {
				t.Errorf("more than the runtime has changed, from\n%s\nto\n%s", text(before), text(after))
			}

			installed := n.look(t)
			if out, err := n.installer(t, false, "install"); err != nil || strings.Contains(out, "again") {
				t.Errorf("the second time: %v: %s", err, out)
			}
			same(t, installed, n.look(t))
			if out, err := n.installer(t, true, "uninstall"); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			same(t, was, n.look(t))
		})
	}
}

// dump is what containerd makes of its configuration, without the list of files
// that it comes from.
func (n *node) dump(t *testing.T) map[string]any {
	t.Helper()
	args := []string{"config", "dump"}
	if _, err := os.Stat(n.path(main)); err != nil {
		args[1] = "default"
	}
	var config map[string]any
	if err := toml.Unmarshal([]byte(n.must(t, "containerd", args...)), &config); err != nil {
		t.Fatal(err)
	}
	delete(config, "imports")
	return plain(config)
}

// plain is a configuration without what says no more than its absence.
func plain(table map[string]any) map[string]any {
	maps.DeleteFunc(table, func(key string, value any) bool {
		if t, ok := value.(map[string]any); ok {
			return len(plain(t)) == 0
		}
		if key == "sandbox_mode" && value == "podsandbox" {
			return true
		}
		v := reflect.ValueOf(value)
		return !v.IsValid() || v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
	})
	return table
}

// take removes a runtime from a configuration and returns it.
func take(config map[string]any, name string) map[string]any {
	plugins, _ := config["plugins"].(map[string]any)
	for _, section := range []string{"io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"} {
		cri, _ := plugins[section].(map[string]any)
		containerd, _ := cri["containerd"].(map[string]any)
		runtimes, _ := containerd["runtimes"].(map[string]any)
		if runtime, ok := runtimes[name].(map[string]any); ok {
			delete(runtimes, name)
			return runtime
		}
	}
	return nil
}

func text(config map[string]any) string {
	data, err := toml.Marshal(config)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
