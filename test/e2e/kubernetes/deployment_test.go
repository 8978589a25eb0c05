package kubernetes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: CLASS}
spec:
  replicas: 3
  minReadySeconds: 60
  selector: {matchLabels: {app: CLASS}}
  template:
    metadata: {labels: {app: CLASS}}
    spec:
      runtimeClassName: CLASS
      containers:
      - {name: wasm, image: "test.local/wasm:1"}
      - name: linux
        image: test.local/linux:1
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
`

// testDeployment has replicas that stay ready for 60 s, then ten, then one.
func testDeployment(t *testing.T, class string) {
	kubectlIn(t, strings.ReplaceAll(deployment, "CLASS", class), "create", "-f", "-")
	t.Cleanup(func() {
		kubectl(t, "delete", "deployment", class, "--cascade=foreground", "--timeout=30s")
	})
	replicas := func(field string, n int) {
		t.Helper()
		kubectl(t, "wait", "deployment/"+class, fmt.Sprintf("--for=jsonpath={.status.%s}=%d", field, n), "--timeout=55s")
	}
	steady := func(t *testing.T, want int) {
		t.Helper()
		var pods struct{ Items []status }
		if err := json.Unmarshal([]byte(kubectl(t, "get", "pods", "-l", "app="+class, "-o", "json")), &pods); err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, s := range pods.Items {
			if s.Status.Phase == "Running" {
				running++
			}
			for _, c := range s.Status.ContainerStatuses {
				if c.RestartCount != 0 {
					t.Errorf("a container was restarted: %+v", c)
				}
			}
		}
		if running != want {
			t.Errorf("%d pods run, want %d", running, want)
		}
	}
	each(t,
		sub{"3 replicas are ready, and for 60 s", func(t *testing.T) {
			replicas("readyReplicas", 3)
			waitAvailable(t, class)
			steady(t, 3)
		}},
		sub{"10 replicas are ready", func(t *testing.T) {
			kubectl(t, "scale", "deployment/"+class, "--replicas=10")
			replicas("readyReplicas", 10)
			steady(t, 10)
		}},
		sub{"1 replica is left", func(t *testing.T) {
			kubectl(t, "scale", "deployment/"+class, "--replicas=1")
			replicas("replicas", 1)
			kubectl(t, "wait", "deployment/"+class, "--for=jsonpath={.status.terminatingReplicas}=0", "--timeout=30s")
			steady(t, 1)
		}},
	)
}

// waitAvailable waits until the replicas have been ready for as long as the
// Deployment wants.
func waitAvailable(t *testing.T, class string) {
	t.Helper()
	for range 3 {
		if _, err := tryKubectl(t, "", "wait", "deployment/"+class, "--for=jsonpath={.status.availableReplicas}=3", "--timeout=30s"); err == nil {
			return
		}
	}
	t.Fatalf("3 replicas are not available:\n%s", kubectl(t, "get", "pods", "-l", "app="+class, "-o", "wide"))
}
