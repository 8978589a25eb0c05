package docker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/docs"
)

// TestPage runs what docs/docker.md tells a user to type.
func TestPage(t *testing.T) {
	e := start(t, *current, true)
	folder := t.TempDir()
	module, err := os.ReadFile(filepath.Join(os.Getenv("E2E_GUESTS"), "docker.wasm"))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "app.wasm"), module, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-euxc", docs.Commands(docs.Docker))
	cmd.Env, cmd.Dir = e.Command(ctx).Env, folder
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "\nno arguments\n") != 2 {
		t.Errorf("%v: %s", err, out)
	}
	e.empty(t)
}
