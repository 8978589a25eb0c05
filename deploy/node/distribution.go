package node

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// distribution is a way in which containerd comes to a node.
type distribution struct {
	name   string
	config string // what containerd, or whoever writes its configuration, reads
	socket string // where containerd serves CRI
	// units are those of systemd's that run containerd, as patterns; none where
	// containerd is started again by itself.
	units []string

	// managed says whether dropIn is read, and then nothing else is asked.
	managed func(host) bool
	dropIn  string
	// template tells where a block for a generated configuration goes instead, and
	// with which text before it.
	template func(h host, generated source, block string) (path, text string, err error)
	// dumpable says that `containerd config dump` reads config.
	dumpable bool
}

// distributions are all that are known, those first that bring a containerd of
// their own.
var distributions = []distribution{
	rancher("k3s", "k3s*.service"),
	rancher("rke2", "rke2-server.service", "rke2-agent.service"),
	k0s,
	microk8s,
	plain,
}

// rancher is k3s or RKE2. They write config.toml at each start, of a template in
// the same folder if there is one, else of their own, which templates can include
// as "base" (pkg/agent/containerd/config.go and pkg/agent/templates of k3s-io/k3s;
// docs.k3s.io/advanced, "Configuring containerd"). Since k3s-io/k3s#13680 theirs
// import the folders config-v3.toml.d and config.toml.d beside it.
func rancher(name string, units ...string) distribution {
	dir := "/var/lib/rancher/" + name + "/agent/etc/containerd/"
	return distribution{
		name:   name,
		config: dir + "config.toml",
		socket: "/run/k3s/containerd/containerd.sock",
		units:  units,
		template: func(h host, generated source, block string) (string, string, error) {
			path := dir + "config.toml.tmpl"
			if generated.Version >= 3 {
				path = dir + "config-v3.toml.tmpl"
			}
			if generated.empty {
				return "", "", fmt.Errorf("%s on the node is not there or empty: %s has not written it yet; start %s", generated.path, name, name)
			}
			there, err := h.read(path)
			if rest := withoutBlock(there); err == nil && rest == nil {
				block = "{{ template \"base\" . }}\n\n" + block
			}
			return path, block, err
		},
	}
}

// k0s writes containerd's configuration, with a first line that says so, and
// starts containerd again when a file in containerd.d changes
// (pkg/component/worker/containerd/component.go of k0sproject/k0s;
// docs.k0sproject.io/stable/runtime). Before containerd 2, it merges the CRI
// sections of these files by itself. Without that line, the configuration is the
// administrator's.
var k0s = distribution{
	name:   "k0s",
	config: "/etc/k0s/containerd.toml",
	socket: "/run/k0s/containerd.sock",
	units:  []string{"k0sworker.service", "k0scontroller.service"},
	managed: func(h host) bool {
		data, err := h.read("/etc/k0s/containerd.toml")
		return err == nil && bytes.HasPrefix(data, []byte("# k0s_managed=true\n"))
	},
	dropIn: "/etc/k0s/containerd.d/wasm.toml",
}

// microk8s makes containerd.toml of a template at each start by putting values in
// place of ${VARIABLES} (microk8s-resources/wrappers/run-containerd-with-args and
// default-args/containerd of canonical/microk8s). The template imports nothing.
var microk8s = distribution{
	name:   "microk8s",
	config: "/var/snap/microk8s/current/args/containerd-template.toml",
	socket: "/var/snap/microk8s/common/run/containerd.sock",
	units:  []string{"snap.microk8s.daemon-containerd.service"},
}

// plain is containerd as its own packages, kubeadm's and the clouds' have it. The
// nodes of kind are of this kind (images/base/files/etc of kubernetes-sigs/kind),
// with a configuration of version 2 under containerd 2.
var plain = distribution{
	name:     "containerd",
	config:   "/etc/containerd/config.toml",
	socket:   "/run/containerd/containerd.sock",
	units:    []string{"containerd.service"},
	dumpable: true,
}

// detect finds the distribution whose containerd answers on the node, or the one
// of that name.
func detect(h host, name string) (distribution, error) {
	var names, sockets []string
	var found []distribution
	for _, d := range distributions {
		if d.name == name {
			return d, nil
		}
		names = append(names, d.name)
		sockets = append(sockets, d.socket)
		// RKE2's containerd has the socket of k3s's; the configuration decides.
		if (d.name == plain.name || h.exists(filepath.Dir(d.config))) && answers(h, d.socket) {
			found = append(found, d)
		}
	}
	switch {
	case name != "":
		return distribution{}, fmt.Errorf("-distribution: there is no %q; there are %s", name, strings.Join(names, ", "))
	case len(found) == 0:
		return distribution{}, fmt.Errorf("no containerd answers on the node at %s; is the node's root file system mounted at %s, and does the node run containerd?", strings.Join(slices.Compact(sockets), ", "), h)
	case len(found) > 1:
		names = names[:0]
		for _, d := range found {
			names = append(names, d.name)
		}
		return distribution{}, fmt.Errorf("containerds of %s answer on the node; say by -distribution which one the kubelet uses", strings.Join(names, " and "))
	}
	return found[0], nil
}

// answers says whether somebody serves at a socket of the node's.
func answers(h host, socket string) bool {
	path, err := h.path(socket)
	if err != nil {
		return false
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
