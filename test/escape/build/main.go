// Build builds the sandbox's program with test/escape/engine for its engine.
//
//	build FILE
//
// It is run in the module's root directory.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if err := build(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func build(program string) (err error) {
	overlay, err := writeOverlay()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(overlay)) }()
	cmd := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-o", program, "./cmd/wasm-sandbox")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// writeOverlay has the engine's files replaced by one; see `go help build`.
func writeOverlay() (path string, err error) {
	const engine = "sandbox/engine"
	files, err := filepath.Glob(engine + "/*.go")
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, file := range files {
		replace[file] = ""
	}
	replace[engine+"/engine.go"] = "test/escape/engine/engine.go"
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "overlay")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	return f.Name(), errors.Join(err, f.Close())
}
