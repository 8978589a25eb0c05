package kubernetes

import (
	"strings"
	"testing"
)

// serving is a pod in which a guest answers by itself, at an address that the
// administrator lets the pod choose.
const serving = `
apiVersion: v1
kind: Pod
metadata:
  name: CLASS-serving
  annotations: {io.containerd.wasm.v1.listen: "tcp://0.0.0.0:8081"}
spec:
  runtimeClassName: CLASS-listening
  containers:
  - name: wasm
    image: test.local/wasm:1
    command: [/listener.wasm]
    startupProbe: {httpGet: {path: /started, port: 8081}, periodSeconds: 1, failureThreshold: 60}
    livenessProbe: {httpGet: {path: /alive, port: 8081}, periodSeconds: 1}
    readinessProbe: {tcpSocket: {port: 8081}, periodSeconds: 1}
  - name: linux
    image: test.local/linux:1
`

// testServing has probes, a forwarded port and a neighbour reach a guest.
func testServing(t *testing.T, class string) {
	p := pod{class + "-serving"}
	kubectlIn(t, strings.ReplaceAll(serving, "CLASS", class), "create", "-f", "-")
	t.Cleanup(func() { p.delete(t) })
	each(t,
		sub{"http and tcp probes are answered by the guest", func(t *testing.T) {
			s := p.ready(t)
			if n := s.container("wasm").RestartCount; n != 0 {
				t.Errorf("it was restarted %d times", n)
			}
		}},
		sub{"a Linux container reaches it at 127.0.0.1", func(t *testing.T) {
			equal(t, "the guest", p.exec(t, "linux", "wget", "-q", "-O", "-", "http://127.0.0.1:8081/neighbour"), "you asked for /neighbour\n")
		}},
		sub{"others reach it at the pod's address", func(t *testing.T) {
			equal(t, "the guest", get(t, "http://"+p.status(t).Status.PodIP+":8081/from-outside"), "you asked for /from-outside\n")
		}},
		sub{"port-forward reaches it", func(t *testing.T) {
			equal(t, "the guest", get(t, forwarded(t, p, "8081")+"/forwarded"), "you asked for /forwarded\n")
		}},
	)
}
