package node

import (
	"os"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/deploy/containerd"
)

const (
	criV2 = "[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"registry.k8s.io/pause:3.10\"\n"
	runV2 = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n  runtime_type = \"io.containerd.runc.v2\"\n"
	runV3 = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n  runtime_type = 'io.containerd.runc.v2'\n"

	k3sDir = "/var/lib/rancher/k3s/agent/etc/containerd/"
	rke2   = "/var/lib/rancher/rke2/agent/etc/containerd/"
)

// layouts are nodes as their distributions make them, and where the runtime goes.
var layouts = []struct {
	name  string
	node  tree
	major int    // of containerd
	at    string // distribution and the file with the runtime
	parts []string
}{
	{
		"packages of containerd 1.7, no configuration", tree{"/etc/": ""}, 1,
		"containerd /etc/containerd/config.toml", []string{newFile, "\nversion = 2\n", "runtimes.runc]"},
	},
	{
		"packages of containerd 2, no configuration", tree{"/etc/containerd/": ""}, 2,
		"containerd /etc/containerd/config.toml", []string{newFile, "\nversion = 3\n"},
	},
	{
		"a configuration without keys", tree{"/etc/containerd/config.toml": "# nothing yet"}, 2,
		"containerd /etc/containerd/config.toml", []string{"# nothing yet\n" + begin + noNewline, "\nversion = 3\n"},
	},
	{
		"1.7, CRI in the main file",
		tree{"/etc/containerd/config.toml": "version = 2\nimports = ['/etc/containerd/conf.d/*.toml']\n" + criV2}, 1,
		"containerd /etc/containerd/config.toml", []string{criV2 + begin, "runtimes.runc]"},
	},
	{
		"1.7, runtimes in the main file, no end of line",
		tree{"/etc/containerd/config.toml": "version = 2\n" + criV2 + strings.TrimSpace(runV2)}, 1,
		"containerd /etc/containerd/config.toml", []string{begin + noNewline, "runtimes.wasm]"},
	},
	{
		"1.7, CRI in a file that is imported, whose word is the last",
		tree{
			"/etc/containerd/config.toml":           "version = 2\nimports = [\"conf.d/*.toml\"]\n" + criV2,
			"/etc/containerd/conf.d/99-nvidia.toml": "version = 2\n" + criV2 + runV2,
		}, 1,
		"containerd /etc/containerd/conf.d/99-nvidia.toml", []string{runV2 + begin},
	},
	{
		"1.7, imports and no CRI section",
		tree{"/etc/containerd/config.toml": "version = 2\nimports = [\"/etc/containerd/runtime_*.toml\", \"/etc/containerd/more.toml\"]\n", "/etc/containerd/more.toml": "version = 2\n"}, 1,
		"containerd /etc/containerd/runtime_wasm.toml", []string{"runtimes.runc]"},
	},
	{
		"2, default configuration",
		tree{"/etc/containerd/config.toml": "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n" + runV3}, 2,
		"containerd /etc/containerd/conf.d/wasm.toml", []string{containerd.V3},
	},
	{
		"2, nothing imported",
		tree{"/etc/containerd/config.toml": "version = 4\n" + runV3}, 2,
		"containerd /etc/containerd/config.toml", []string{runV3 + begin, "io.containerd.cri.v1.runtime'.containerd.runtimes.wasm]"},
	},
	{
		"kind: version 2 under containerd 2",
		tree{"/etc/containerd/config.toml": "version = 2\n" + criV2 + runV2, "/kind/version": "v1.36.0"}, 2,
		"containerd /etc/containerd/config.toml", []string{runV2 + begin, "io.containerd.grpc.v1.cri\".containerd.runtimes.wasm]"},
	},
	{
		"a configuration that is a link",
		tree{"/etc/containerd/config.toml": "-> /usr/share/containerd.toml", "/usr/share/containerd.toml": "version = 3\n"}, 2,
		"containerd /etc/containerd/config.toml", []string{"version = 3\n" + begin},
	},
	{
		"k3s that imports",
		tree{k3sDir + "config.toml": "version = 3\nimports = [\"" + k3sDir + "config-v3.toml.d/*.toml\"]\n" + runV3}, 2,
		"k3s " + k3sDir + "config-v3.toml.d/wasm.toml", []string{containerd.V3},
	},
	{
		"k3s with containerd 2 that imports nothing", tree{k3sDir + "config.toml": "version = 3\n" + runV3}, 2,
		"k3s " + k3sDir + "config-v3.toml.tmpl", []string{newFile + "\n{{ template \"base\" . }}\n", "runtimes.wasm]"},
	},
	{
		"k3s with containerd 1.7", tree{k3sDir + "config.toml": "version = 2\n" + criV2 + runV2}, 1,
		"k3s " + k3sDir + "config.toml.tmpl", []string{newFile + "\n{{ template \"base\" . }}\n", "runtimes.wasm]"},
	},
	{
		"k3s with a template of the administrator's",
		tree{k3sDir + "config.toml": "version = 2\n" + criV2 + runV2, k3sDir + "config.toml.tmpl": "{{ template \"base\" . }}\n# mine\n"}, 1,
		"k3s " + k3sDir + "config.toml.tmpl", []string{"# mine\n" + begin + "\n[plugins"},
	},
	{
		"rke2", tree{rke2 + "config.toml": "version = 3\n" + runV3}, 2,
		"rke2 " + rke2 + "config-v3.toml.tmpl", []string{"{{ template \"base\" . }}"},
	},
	{
		"k0s with containerd 2", tree{"/etc/k0s/containerd.toml": "# k0s_managed=true\nversion = 3\n"}, 2,
		"k0s /etc/k0s/containerd.d/wasm.toml", []string{containerd.V3},
	},
	{
		"k0s with containerd 1.7", tree{"/etc/k0s/containerd.toml": "# k0s_managed=true\nversion = 2\n", "/etc/k0s/containerd.d/": ""}, 1,
		"k0s /etc/k0s/containerd.d/wasm.toml", []string{"version = 2\n"},
	},
	{
		"k0s whose configuration is the administrator's", tree{"/etc/k0s/containerd.toml": "version = 3\n"}, 2,
		"k0s /etc/k0s/containerd.toml", []string{"version = 3\n" + begin},
	},
	{
		"microk8s",
		tree{
			"/var/snap/microk8s/current":                            "-> 8612",
			"/var/snap/microk8s/8612/args/containerd-template.toml": "version = 2\n" + criV2 + strings.ReplaceAll(runV2, "io.containerd.runc.v2", "${RUNTIME_TYPE}"),
		}, 2,
		"microk8s /var/snap/microk8s/current/args/containerd-template.toml", []string{"${RUNTIME_TYPE}\"\n" + begin},
	},
}

// TestLayouts installs the runtime's settings on nodes of every kind, twice, and
// takes them away again.
func TestLayouts(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			h := l.node.plant(t)
			name, path, _ := strings.Cut(l.at, " ")
			d, err := detect(h, name)
			if err != nil {
				t.Fatal(err)
			}
			serve(t, h, d.socket)
			if d, err = detect(h, ""); err != nil || d.name != name {
				t.Fatalf("detected %q, %v", d.name, err)
			}
			was := look(t, h)
			if changed := applyPlan(t, h, d, l.major); !changed {
				t.Error("nothing was changed")
			}
			data, err := h.read(path)
			if err != nil {
				t.Fatal(err)
			}
			contains(t, path, string(data), append(l.parts, runtimeType)...)
			if n := strings.Count(string(data), "runtimes.wasm]"); n != 1 {
				t.Errorf("%d tables of the runtime in %s:\n%s", n, path, data)
			}

			installed := look(t, h)
			if changed := applyPlan(t, h, d, l.major); changed {
				t.Error("the second time, something was changed")
			}
			same(t, installed, look(t, h))

			if err := fresh(t, h).undo(all); err != nil {
				t.Fatal(err)
			}
			same(t, was, look(t, h))
		})
	}
}

// applyPlan is an installer's run as far as the configuration goes. k3s and RKE2
// then make their configuration of the template.
func applyPlan(t *testing.T, h host, d distribution, major int) (changed bool) {
	t.Helper()
	r := fresh(t, h)
	e, _, err := plan(h, d, r, major)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.check(h); err != nil {
		t.Fatal(err)
	}
	if changed, err = e.apply(r); err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		node  tree
		major int
		says  []string
	}{
		{"version 1", tree{"/etc/containerd/config.toml": "disabled_plugins = []\n"}, 1, []string{"version 0", "config migrate"}},
		{"syntax", tree{"/etc/containerd/config.toml": "version = 3\n[plugins\n"}, 2, []string{"config.toml", "line 2"}},
		{"type", tree{"/etc/containerd/config.toml": "version = 'three'\n"}, 2, []string{"config.toml"}},
		{
			"another runtime of that name",
			tree{"/etc/containerd/config.toml": "version = 3\n" + strings.ReplaceAll(strings.ReplaceAll(runV3, "runc]", "wasm]"), "runc.v2", "spin.v2")}, 2,
			[]string{"config.toml", `"io.containerd.spin.v2"`, "rename"},
		},
		{
			"a table in braces",
			tree{"/etc/containerd/config.toml": "version = 3\nplugins.'io.containerd.cri.v1.runtime' = { containerd = { } }\n"}, 2,
			[]string{"config.toml", "braces"},
		},
		{
			"a file in the place of ours",
			tree{"/etc/containerd/config.toml": "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n", "/etc/containerd/conf.d/wasm.toml": "version = 3\n"}, 2,
			[]string{"/etc/containerd/conf.d/wasm.toml", "rename"},
		},
		{"an import that is not there", tree{"/etc/containerd/config.toml": "version = 3\nimports = ['more.toml']\n"}, 2, []string{"/etc/containerd/more.toml", "not there"}},
		{"k3s that has not started", tree{k3sDir: ""}, 2, []string{"k3s has not written it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := c.node.plant(t)
			d := plain
			if h.exists(k3sDir) {
				d, _ = detect(h, "k3s")
			}
			was := look(t, h)
			r := fresh(t, h)
			e, _, err := plan(h, d, r, c.major)
			if err == nil {
				err = e.check(h)
			}
			if err == nil {
				_, err = e.apply(r)
			}
			contains(t, "the error", errorText(err), c.says...)
			if err := fresh(t, h).undo(all); err != nil {
				t.Error(err)
			}
			same(t, was, look(t, h))
		})
	}
}

// TestAdministrator has somebody change what the installer wrote, and around it.
func TestAdministrator(t *testing.T) {
	t.Run("by hand", func(t *testing.T) {
		h := tree{"/etc/containerd/config.toml": "version = 3\n" + strings.ReplaceAll(runV3, "runc", "wasm")}.plant(t)
		// The type has to be ours.
		retype(t, h, "/etc/containerd/config.toml", "io.containerd.wasm.v2", runtimeType)
		was := look(t, h)
		if applyPlan(t, h, plain, 2) {
			t.Error("changed what was there")
		}
		same(t, was, look(t, h))
	})
	t.Run("the drop-in is edited", func(t *testing.T) {
		h := tree{"/etc/containerd/config.toml": "version = 3\nimports = ['conf.d/*.toml']\n"}.plant(t)
		applyPlan(t, h, plain, 2)
		const path = "/etc/containerd/conf.d/wasm.toml"
		retype(t, h, path, "# CacheSize = '1GiB'", "CacheSize = '2GiB'")
		was := look(t, h)
		if applyPlan(t, h, plain, 2) {
			t.Error("overwrote the administrator's setting")
		}
		same(t, was, look(t, h))
		if err := fresh(t, h).undo(all); err != nil {
			t.Fatal(err)
		}
		data, err := h.read(path + editedSuffix)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, "what is kept", string(data), "2GiB")
		if h.exists(path) {
			t.Error("the drop-in is still imported")
		}
	})
	t.Run("lines around the block", func(t *testing.T) {
		h := tree{"/etc/containerd/config.toml": "version = 3\n"}.plant(t)
		applyPlan(t, h, plain, 2)
		const path = "/etc/containerd/config.toml"
		retype(t, h, path, "version = 3\n", "version = 3\nroot = '/data'\n")
		retype(t, h, path, end, end+"[debug]\n  level = 'debug'\n")
		retype(t, h, path, "# CacheSize = '1GiB'", "CacheSize = '2GiB'")
		if applyPlan(t, h, plain, 2) {
			t.Error("overwrote the administrator's setting")
		}
		if err := fresh(t, h).undo(all); err != nil {
			t.Fatal(err)
		}
		data, err := h.read(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := "version = 3\nroot = '/data'\n[debug]\n  level = 'debug'\n"; string(data) != want {
			t.Errorf("%q is left, not %q", data, want)
		}
	})
	t.Run("imports come later", func(t *testing.T) {
		h := tree{"/etc/containerd/config.toml": "version = 3\n"}.plant(t)
		applyPlan(t, h, plain, 2)
		const path = "/etc/containerd/config.toml"
		retype(t, h, path, "version = 3\n", "version = 3\nimports = ['conf.d/*.toml']\n")
		if !applyPlan(t, h, plain, 2) {
			t.Error("the runtime stays where it was")
		}
		data, err := h.read(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), handler) || !h.exists("/etc/containerd/conf.d/wasm.toml") {
			t.Errorf("the block is still in %s:\n%s", path, data)
		}
	})
}

// retype replaces text in a file of the node's, as an editor does.
func retype(t *testing.T, h host, path, old, new string) {
	t.Helper()
	data, err := h.read(path)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, path, string(data), old)
	real, err := h.path(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(real, []byte(strings.Replace(string(data), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDetect(t *testing.T) {
	h := tree{"/etc/k0s/": ""}.plant(t)
	_, err := detect(h, "")
	contains(t, "the error", errorText(err), "no containerd answers", plain.socket)
	_, err = detect(h, "talos")
	contains(t, "the error", errorText(err), `"talos"`, "microk8s")
	serve(t, h, plain.socket)
	serve(t, h, k0s.socket)
	_, err = detect(h, "")
	contains(t, "the error", errorText(err), "k0s and containerd", "-distribution")
}
