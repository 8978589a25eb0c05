package kubernetes

import (
	"maps"
	"slices"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/kubernetes"
)

// classes are the runtime classes of ours.
var classes = []string{kubernetes.Wasm, kubernetes.WasmShim}

// TestPods runs pods side by side, and looks at the end for what they have left.
func TestPods(t *testing.T) {
	kubectlIn(t, `
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {colour: blue, shape: round}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: changing-wasm}, data: {state: before}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: changing-wasm-shim}, data: {state: before}}
---
{apiVersion: v1, kind: Secret, metadata: {name: password}, stringData: {word: sesame}}
`, "create", "-f", "-")
	t.Run("all", func(t *testing.T) {
		all := map[string]func(t *testing.T, class string){
			"mixed":              testMixed,
			"volumes":            testVolumes,
			"security":           testSecurity,
			"user namespace":     testUserNamespace,
			"shared processes":   testSharedProcesses,
			"resources":          testResources,
			"quality of service": testQoS,
			"grace":              testGrace,
			"ends":               testEnds,
			"restarts":           testRestarts,
			"probes":             testProbes,
			"serving":            testServing,
			"hooks":              testHooks,
			"deployment":         testDeployment,
		}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			for _, class := range classes {
				t.Run(class+"/"+name, func(t *testing.T) {
					t.Parallel()
					all[name](t, class)
				})
			}
		}
	})
	kubectl(t, "delete", "configmap/settings", "configmap/changing-wasm", "configmap/changing-wasm-shim", "secret/password")
	nothingLeft(t)
}

// sub runs subtests in order; each name says what is checked.
type sub struct {
	name string
	test func(t *testing.T)
}

func each(t *testing.T, tests ...sub) {
	t.Helper()
	for _, s := range tests {
		t.Run(s.name, s.test)
	}
}
