package kubernetes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/kubernetes"
)

func testSecurity(t *testing.T, class string) {
	p := newPod(t, class, "security", `
securityContext: {runAsUser: 1234, runAsGroup: 2345, fsGroup: 3456, supplementalGroups: [4567]}
volumes: [{name: data, emptyDir: {}}]
containers:
- name: wasm
  image: test.local/wasm:1
  securityContext:
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  volumeMounts: [{name: data, mountPath: /data}]
- name: wasm-unconfined
  image: test.local/wasm:1
  securityContext: {runAsUser: 4321, seccompProfile: {type: Unconfined}}
  volumeMounts: [{name: data, mountPath: /data}]
- name: linux
  image: test.local/linux:1
  securityContext:
    readOnlyRootFilesystem: true
    seccompProfile: {type: RuntimeDefault}
  volumeMounts: [{name: data, mountPath: /data}]
`)
	p.ready(t)
	status := func(container string) string { return p.read(t, container, "/proc/self/status") }
	each(t,
		sub{"runAsUser and runAsGroup", func(t *testing.T) {
			for c, user := range map[string]string{"wasm": "1234", "wasm-unconfined": "4321", "linux": "1234"} {
				text := status(c)
				equal(t, "user of "+c, field(text, "Uid"), strings.Repeat(user+" ", 3)+user)
				equal(t, "group of "+c, field(text, "Gid"), "2345 2345 2345 2345")
			}
		}},
		sub{"fsGroup and supplementalGroups", func(t *testing.T) {
			for _, c := range []string{"wasm", "linux"} {
				contains(t, "groups of "+c, " "+field(status(c), "Groups")+" ", " 3456 ")
				contains(t, "groups of "+c, " "+field(status(c), "Groups")+" ", " 4567 ")
			}
			p.exec(t, "wasm", "/files.wasm", "write", "/data/file", "x")
			equal(t, "the owner of a guest's file", p.exec(t, "linux", "stat", "-c", "%u:%g", "/data/file"), "1234:3456\n")
		}},
		sub{"readOnlyRootFilesystem", func(t *testing.T) {
			p.execFails(t, "wasm", "Read-only file system", "/files.wasm", "write", "/file", "x")
			p.execFails(t, "linux", "Read-only file system", "touch", "/file")
			// The other one may not write for another reason, the root being root's.
			p.execFails(t, "wasm-unconfined", "ermission denied", "/files.wasm", "write", "/file", "x")
		}},
		sub{"seccompProfile RuntimeDefault and Unconfined", func(t *testing.T) {
			// The sandbox has a filter of its own, whatever the profile is.
			for _, c := range []string{"wasm", "wasm-unconfined", "linux"} {
				equal(t, "seccomp in "+c, field(status(c), "Seccomp"), "2")
			}
		}},
		sub{"capabilities and privilege escalation", func(t *testing.T) {
			equal(t, "capabilities of a guest", field(status("wasm"), "CapEff"), "0000000000000000")
			equal(t, "no_new_privs of a guest", field(status("wasm"), "NoNewPrivs"), "1")
		}},
	)
}

// field is the value of a line of /proc/PID/status, its parts apart by blanks.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return "no " + name
}

func testUserNamespace(t *testing.T, class string) {
	p := newPod(t, class, "user-namespace", `
hostUsers: false
volumes:
- {name: data, emptyDir: {}}
- {name: config, configMap: {name: settings}}
containers:
- name: wasm
  image: test.local/wasm:1
  volumeMounts: [{name: data, mountPath: /data}, {name: config, mountPath: /config}]
- name: linux
  image: test.local/linux:1
  volumeMounts: [{name: data, mountPath: /data}, {name: config, mountPath: /config}]
`)
	s := p.ready(t)
	each(t,
		sub{"both containers are in one user namespace of the pod's", func(t *testing.T) {
			node, err := os.Readlink("/proc/self/ns/user")
			if err != nil {
				t.Fatal(err)
			}
			wasm, linux := p.namespace(t, "wasm", "user"), p.namespace(t, "linux", "user")
			if wasm != linux || wasm == node {
				t.Errorf("wasm in %s, linux in %s, the node in %s", wasm, linux, node)
			}
		}},
		sub{"root is nobody of the node's", func(t *testing.T) {
			for _, c := range []string{"wasm", "linux"} {
				m := strings.Fields(p.read(t, c, "/proc/self/uid_map"))
				if len(m) != 3 || m[0] != "0" || m[1] == "0" || m[2] != "65536" {
					t.Errorf("the user map of %s is %q", c, m)
				}
			}
		}},
		sub{"files in volumes belong to whoever writes them", func(t *testing.T) {
			p.exec(t, "wasm", "/files.wasm", "write", "/data/file", "x")
			equal(t, "the owner, seen from within", p.exec(t, "linux", "stat", "-c", "%u:%g", "/data/file"), "0:0\n")
			if info, err := os.Stat(filepath.Join("/var/lib/kubelet/pods", s.Metadata.UID, "volumes/kubernetes.io~empty-dir/data/file")); err != nil {
				t.Error(err)
			} else if uid, _ := owner(info); uid != 0 {
				t.Errorf("on the node the file belongs to user %d", uid)
			}
			equal(t, "a configMap", p.read(t, "wasm", "/config/colour"), "blue")
		}},
	)
}

func testSharedProcesses(t *testing.T, class string) {
	p := newPod(t, class, "shared-processes", `
restartPolicy: Never
shareProcessNamespace: true
containers:
- name: wasm
  image: test.local/wasm:1
- name: wasm-victim
  image: test.local/wasm:1
  args: ["7777777"]
- name: linux
  image: test.local/linux:1
  securityContext: {capabilities: {add: [KILL, SYS_PTRACE]}}
`)
	p.ready(t)
	each(t,
		sub{"the containers are in one PID namespace", func(t *testing.T) {
			equal(t, "the PID namespace", p.namespace(t, "wasm", "pid"), p.namespace(t, "linux", "pid"))
		}},
		sub{"the first process is the pod's own", func(t *testing.T) {
			want := map[string]string{kubernetes.Wasm: "pause\n", kubernetes.WasmShim: "wasm-sandbox\n"}[class]
			equal(t, "process 1", p.read(t, "linux", "/proc/1/comm"), want)
			equal(t, "process 1 of a guest's", p.read(t, "wasm", "/proc/1/comm"), want)
		}},
		sub{"a signal of the Linux container ends a guest", func(t *testing.T) {
			victim := ""
			for line := range strings.Lines(p.read(t, "linux", "/proc/"+p.inside(t, "wasm-victim")+"/status")) {
				if pid, ok := strings.CutPrefix(line, "Pid:"); ok {
					victim = strings.TrimSpace(pid)
				}
			}
			p.exec(t, "linux", "kill", "-TERM", victim)
			s := p.ended(t, "wasm-victim")
			if code := s.container("wasm-victim").State.Terminated.ExitCode; code != 143 {
				t.Errorf("exit code %d, want 143", code)
			}
		}},
	)
}
