package kubernetes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/docs"
)

// TestManifests has the API server check every manifest of deploy/kubernetes; the
// installer itself would change the machine, and has tests of its own.
func TestManifests(t *testing.T) {
	kubectl(t, "create", "namespace", "wasm-system")
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "wasm-system") })
	for _, dir := range []string{"base", "overlays/uninstall", "overlays/remove-on-delete"} {
		out := kubectl(t, "apply", "--dry-run=server", "-k", filepath.Join("deploy/kubernetes", dir))
		contains(t, dir, out, "daemonset.apps/wasm-node-installer created (server dry run)")
	}
	for _, file := range []string{"first-pod", "mixed-pod", "service"} {
		out := kubectl(t, "apply", "--dry-run=server", "-f", "deploy/kubernetes/examples/"+file+".yaml")
		contains(t, file, out, "created (server dry run)")
	}
}

// TestManual runs the commands of docs/kubernetes.md about the first pod, whose
// image the cluster has.
func TestManual(t *testing.T) {
	_, rest, found := strings.Cut(docs.Commands(docs.Kubernetes), "kubectl apply -f deploy/kubernetes/examples/first-pod.yaml\n")
	commands, _, ended := strings.Cut(rest, "kubectl delete pod first\n")
	if !found || !ended {
		t.Fatal("the page has no first pod")
	}
	commands = "kubectl apply -f deploy/kubernetes/examples/first-pod.yaml\n" + commands + "kubectl delete pod first\n"

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	// A user's kubectl knows the cluster without being told.
	bin := t.TempDir()
	known := cluster.Kubectl(ctx)
	script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", strings.Join(known.Args, " "))
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(ctx, "sh", "-e", "-c", commands)
	shell.Env = append(known.Env, "PATH="+bin+":/usr/bin:/bin")
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	contains(t, "the commands", string(out), "hello")
	contains(t, "the commands", string(out), `pod "first" deleted`)
}
