package kubernetes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// testProbes has probes of each kind. At the ports of its Wasm containers it is the
// Linux container of the pod that answers; testServing has a guest that does.
func testProbes(t *testing.T, class string) {
	p := newPod(t, class, "probes", `
volumes: [{name: shared, emptyDir: {}}]
containers:
- name: linux
  image: test.local/linux:1
  startupProbe: {grpc: {port: 9090}, periodSeconds: 1, failureThreshold: 30}
  livenessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
  readinessProbe: {tcpSocket: {port: 9090}, periodSeconds: 1}
- name: wasm-network
  image: test.local/wasm:1
  startupProbe: {grpc: {port: 9090}, periodSeconds: 1, failureThreshold: 30}
  livenessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, failureThreshold: 30}
  readinessProbe: {tcpSocket: {port: 9090}, periodSeconds: 1}
- name: wasm-exec
  image: test.local/wasm:1
  volumeMounts: [{name: shared, mountPath: /shared}]
  startupProbe: {exec: {command: [/files.wasm, stat, /files.wasm]}, periodSeconds: 1}
  livenessProbe: {exec: {command: [/files.wasm, stat, /files.wasm]}, periodSeconds: 1}
  readinessProbe: {exec: {command: [/files.wasm, stat, /shared/ready]}, periodSeconds: 1}
- name: wasm-sick
  image: test.local/wasm:1
  livenessProbe: {exec: {command: [/exit.wasm, "1"]}, periodSeconds: 1, failureThreshold: 1}
- name: wasm-unready
  image: test.local/wasm:1
  readinessProbe: {httpGet: {path: /, port: 7}, periodSeconds: 1}
`)
	each(t,
		sub{"http, tcp and grpc probes succeed where somebody answers", func(t *testing.T) {
			p.until(t, "answered", func(s status) bool { return s.container("linux").Ready && s.container("wasm-network").Ready })
		}},
		sub{"an exec probe decides whether a guest is ready", func(t *testing.T) {
			p.until(t, "started", func(s status) bool { return s.container("wasm-exec").Started })
			if p.status(t).container("wasm-exec").Ready {
				t.Error("it is ready before its probe succeeds")
			}
			p.exec(t, "wasm-exec", "/files.wasm", "write", "/shared/ready", "yes")
			p.until(t, "ready", func(s status) bool { return s.container("wasm-exec").Ready })
		}},
		sub{"a guest whose liveness probe fails is restarted", func(t *testing.T) {
			s := p.until(t, "restarted", func(s status) bool { return s.container("wasm-sick").RestartCount > 0 })
			if end := s.container("wasm-sick").LastState.Terminated; end == nil || end.ExitCode != 143 {
				t.Errorf("before: %+v, want exit code 143", end)
			}
		}},
		sub{"the others are not", func(t *testing.T) {
			s := p.status(t)
			for _, c := range []string{"linux", "wasm-network", "wasm-exec", "wasm-unready"} {
				if n := s.container(c).RestartCount; n != 0 {
					t.Errorf("%s was restarted %d times", c, n)
				}
			}
			if s.container("wasm-unready").Ready {
				t.Error("a guest is ready at whose port nobody answers")
			}
		}},
	)
}

// testHooks has programs run after a container's start and before its end.
func testHooks(t *testing.T, class string) {
	host := filepath.Join(cluster.Dir, "hooks-"+class)
	if err := os.Mkdir(host, 0o755); err != nil {
		t.Fatal(err)
	}
	p := newPod(t, class, "hooks", fmt.Sprintf(`
volumes: [{name: host, hostPath: {path: %q}}]
containers:
- name: wasm
  image: test.local/wasm:1
  volumeMounts: [{name: host, mountPath: /host}]
  lifecycle:
    postStart: {exec: {command: [/files.wasm, write, /host/start-wasm, x]}}
    preStop: {exec: {command: [/files.wasm, write, /host/stop-wasm, x]}}
- name: linux
  image: test.local/linux:1
  volumeMounts: [{name: host, mountPath: /host}]
  lifecycle:
    postStart: {httpGet: {port: 8080, path: /}}
    preStop: {exec: {command: [touch, /host/stop-linux]}}
- name: wasm-sleep
  image: test.local/wasm:1
  lifecycle:
    preStop: {sleep: {seconds: 1}}
`, host))
	p.ready(t)
	written := func(files ...string) {
		t.Helper()
		for _, file := range files {
			if !isFile(filepath.Join(host, file)) {
				t.Errorf("%s was not written", file)
			}
		}
	}
	written("start-wasm")
	began := time.Now()
	kubectl(t, "delete", "pod", p.name)
	if took := time.Since(began); took < time.Second || took > 20*time.Second {
		t.Errorf("deleting took %.1f s, of a pod with a hook that sleeps a second", took.Seconds())
	}
	written("stop-wasm", "stop-linux")
}
