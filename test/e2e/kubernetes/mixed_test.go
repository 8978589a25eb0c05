package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/kubernetes"
)

// mixed is a pod of everything: two Wasm containers, a Linux container and a Linux
// sidecar, a Wasm and a Linux init container.
const mixed = `
hostname: mixed-host
dnsPolicy: None
dnsConfig: {nameservers: [10.1.2.3], searches: [example.test]}
hostAliases: [{ip: 10.1.2.4, hostnames: [friend]}]
volumes: [{name: shared, emptyDir: {}}]
initContainers:
- name: linux-init
  image: test.local/linux:1
  command: [sh, -c, "echo first >/shared/steps"]
  volumeMounts: [{name: shared, mountPath: /shared}]
- name: wasm-init
  image: test.local/wasm:1
  command: [/files.wasm, append, /shared/steps, second]
  volumeMounts: [{name: shared, mountPath: /shared}]
- name: linux-sidecar
  image: test.local/linux:1
  restartPolicy: Always
  startupProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
  volumeMounts: [{name: shared, mountPath: /shared}]
containers:
- name: wasm
  image: test.local/wasm:1
  env:
  - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
  - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
  - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
  - {name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}
  resources: {limits: {memory: 128Mi}}
  volumeMounts: [{name: shared, mountPath: /shared}]
- name: wasm-count
  image: test.local/wasm:1
  command: [/count.wasm, "-1", "100000", "0"]
  volumeMounts: [{name: shared, mountPath: /shared, readOnly: true}]
- name: linux
  image: test.local/linux:1
  args: ["8081", "9091"]
  ports: [{containerPort: 8081, hostPort: PORT}]
  volumeMounts: [{name: shared, mountPath: /shared}]
`

func testMixed(t *testing.T, class string) {
	port := map[string]string{kubernetes.Wasm: "18081", kubernetes.WasmShim: "18082"}[class]
	p := newPod(t, class, "mixed", strings.Replace(mixed, "PORT", port, 1))
	s := p.ready(t)
	both := []string{"wasm", "wasm-count", "linux", "linux-sidecar"}
	each(t,
		sub{"init containers end, one after the other, before the others begin", func(t *testing.T) {
			for _, name := range []string{"linux-init", "wasm-init"} {
				if end := s.container(name).State.Terminated; end == nil || end.Reason != "Completed" {
					t.Errorf("%s: %+v", name, s.container(name))
				}
			}
			equal(t, "what they wrote", p.read(t, "wasm", "/shared/steps"), "first\nsecond")
		}},
		sub{"the sidecar is started before the containers, and goes on beside them", func(t *testing.T) {
			if c := s.container("linux-sidecar"); !c.Started || c.State.Running == nil {
				t.Errorf("%+v", c)
			}
		}},
		sub{"containers share the namespaces net, ipc and uts, and have their own pid and mnt", func(t *testing.T) {
			for _, kind := range []string{"net", "ipc", "uts", "pid", "mnt"} {
				seen := map[string]bool{}
				for _, c := range both {
					seen[p.namespace(t, c, kind)] = true
				}
				want := 1
				if kind == "pid" || kind == "mnt" {
					want = len(both)
				}
				if len(seen) != want {
					t.Errorf("%s: %d namespaces, want %d", kind, len(seen), want)
				}
			}
		}},
		sub{"containers reach each other on 127.0.0.1", func(t *testing.T) {
			equal(t, "the sidecar's answer", p.exec(t, "linux", "wget", "-qO-", "http://127.0.0.1:8080/echo/sidecar"), "sidecar\n")
			// A guest cannot make a socket; that the network is its own it sees in procfs.
			contains(t, "a guest's interfaces", p.read(t, "wasm", "/proc/net/dev"), "eth0")
		}},
		sub{"the pod's address and its host port are reached from the node", func(t *testing.T) {
			equal(t, "eth0", p.exec(t, "linux", "wget", "-qO-", "http://"+s.Status.PodIP+":8081/echo/pod"), "pod\n")
			equal(t, "by the node", get(t, "http://"+s.Status.PodIP+":8081/echo/node"), "node\n")
			equal(t, "the host port", get(t, "http://"+kubernetes.NodeIP+":"+port+"/echo/port"), "port\n")
		}},
		sub{"the host name is the pod's", func(t *testing.T) {
			for _, c := range both {
				equal(t, "/etc/hostname in "+c, p.read(t, c, "/etc/hostname"), "mixed-host\n")
				equal(t, "the kernel's in "+c, p.read(t, c, "/proc/sys/kernel/hostname"), "mixed-host\n")
			}
		}},
		sub{"/etc/hosts has the pod and its aliases, /etc/resolv.conf the pod's servers", func(t *testing.T) {
			for _, c := range []string{"wasm", "linux"} {
				hosts := p.read(t, c, "/etc/hosts")
				contains(t, "/etc/hosts in "+c, hosts, s.Status.PodIP+"\tmixed-host")
				contains(t, "/etc/hosts in "+c, hosts, "10.1.2.4\tfriend")
				equal(t, "/etc/resolv.conf in "+c, p.read(t, c, "/etc/resolv.conf"), "search example.test\nnameserver 10.1.2.3\n")
			}
		}},
		sub{"/dev/shm is the pod's", func(t *testing.T) {
			p.exec(t, "wasm", "/files.wasm", "write", "/dev/shm/word", "memory")
			equal(t, "what a Linux container reads", p.read(t, "linux", "/dev/shm/word"), "memory")
			equal(t, "what another guest reads", p.read(t, "wasm-count", "/dev/shm/word"), "memory")
		}},
		sub{"the environment has the downward API's values, a ConfigMap's and a Secret's", func(t *testing.T) {
			env := p.exec(t, "wasm", "/env.wasm")
			for _, want := range []string{"POD_NAME=" + p.name, "POD_IP=" + s.Status.PodIP, "NODE_NAME=node", "MEMORY=134217728", "COLOUR=blue", "WORD=sesame", "KUBERNETES_SERVICE_HOST="} {
				contains(t, "the environment", env, want)
			}
		}},
		sub{"a volume is shared, and read-only where it says so", func(t *testing.T) {
			p.exec(t, "linux", "sh", "-c", "echo from linux >/shared/linux")
			equal(t, "what a guest reads", p.read(t, "wasm-count", "/shared/linux"), "from linux\n")
			p.execFails(t, "wasm-count", "Read-only file system", "/files.wasm", "write", "/shared/x", "x")
		}},
		sub{"the service account's token is there", func(t *testing.T) {
			const dir = "/var/run/secrets/kubernetes.io/serviceaccount/"
			equal(t, "namespace", p.read(t, "wasm", dir+"namespace"), "default")
			if parts := strings.Split(p.read(t, "wasm", dir+"token"), "."); len(parts) != 3 {
				t.Errorf("the token has %d parts", len(parts))
			}
		}},
		sub{"an exec has the guest's exit code", func(t *testing.T) {
			_, err := tryKubectl(t, "", "exec", p.name, "-c", "wasm", "--", "/exit.wasm", "7")
			if err == nil {
				t.Fatal("no error")
			}
			contains(t, "the error", err.Error(), "exit code 7")
		}},
		sub{"an exec has a standard input", func(t *testing.T) {
			for c, cat := range map[string]string{"wasm": "/cat.wasm", "linux": "cat"} {
				equal(t, c, kubectlIn(t, "hello "+c, "exec", "-i", p.name, "-c", c, "--", cat), "hello "+c)
			}
		}},
		sub{"logs are each container's", func(t *testing.T) {
			equal(t, "the server's", kubectl(t, "logs", p.name, "-c", "linux"), "serving\n")
			if log := kubectl(t, "logs", p.name, "-c", "wasm-count"); !strings.HasPrefix(log, "0\n1\n2\n") {
				t.Errorf("the counter's: %.40q", log)
			}
		}},
		sub{"logs -f follows", func(t *testing.T) { follows(t, "logs", "-f", "--tail=1", p.name, "-c", "wasm-count") }},
		sub{"attach shows what is written from now on", func(t *testing.T) { follows(t, "attach", p.name, "-c", "wasm-count") }},
		sub{"cp goes both ways with the Linux container", func(t *testing.T) { copies(t, p) }},
		sub{"port-forward reaches the Linux containers", func(t *testing.T) { forwards(t, p) }},
		sub{"usage of each container is measured", func(t *testing.T) { measured(t, p, both) }},
		sub{"an ephemeral container debugs a Wasm container", func(t *testing.T) { debugs(t, p) }},
		sub{"describe names every container and no trouble", func(t *testing.T) {
			text := kubectl(t, "describe", "pod", p.name)
			for _, c := range both {
				contains(t, "describe", text, fmt.Sprintf("\n  %s:\n", c))
			}
			if strings.Contains(text, "Warning") {
				t.Error(text)
			}
		}},
	)
}
