package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A compiler turns a guest's source into a module.
type compiler struct {
	// program is looked up in PATH, unless it is a path.
	program string
	// version are the arguments that make it print its version.
	version []string
	// remedy says how to get it.
	remedy string
	// prepare, where there is one, readies what the program needs besides
	// itself.
	prepare func(b *builder) error
	// in is the folder it runs in; test/guests where it is nil.
	in func(b *builder) string
	// args are the program's arguments; env is added to its environment.
	args func(b *builder, source, out string, flags []string) []string
	env  []string
	// depends are further files, relative to test/guests, that make a
	// difference to the result.
	depends []string
}

const debian = "run test/deps, which installs Debian's packages"

var goBuild = compiler{
	program: "go",
	version: []string{"version"},
	remedy:  "install Go",
	env:     []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS="},
	args: func(_ *builder, source, out string, _ []string) []string {
		return []string{"build", "-trimpath", "-buildvcs=false", "-o", out, source}
	},
}

var clang = compiler{
	program: "clang",
	version: []string{"--version"},
	remedy:  debian + " clang, lld, wasi-libc and libclang-rt-14-dev-wasm32",
	args: func(b *builder, source, out string, flags []string) []string {
		args := []string{"--target=wasm32-wasi", "-O2", "-Wall", "-Wextra", "-Werror",
			"-ffile-prefix-map=" + b.sources + "=.", "-fdebug-compilation-dir=."}
		return append(append(args, flags...), "-o", out, source)
	},
}

// rustc is Debian's, by its path: the one that rustup puts before it in PATH
// has no WebAssembly target.
var rustc = compiler{
	program: "/usr/bin/rustc",
	version: []string{"--version"},
	remedy:  debian + " rustc and libstd-rust-dev-wasm32",
	depends: []string{"rust/linker"},
	args: func(b *builder, source, out string, _ []string) []string {
		return []string{"--target=wasm32-wasi", "--edition=2021", "-O",
			"-C", "linker=" + filepath.Join(b.sources, "rust", "linker"),
			"--remap-path-prefix=" + b.sources + "=.", "-o", out, source}
	},
}

var asc = compiler{
	program: "node",
	version: []string{"--version"},
	remedy:  debian + " nodejs and npm",
	depends: []string{"assemblyscript/package.json", "assemblyscript/package-lock.json"},
	prepare: installAssemblyScript,
	in:      (*builder).assemblyScript,
	args: func(_ *builder, source, out string, _ []string) []string {
		return []string{"node_modules/assemblyscript/bin/asc.js", filepath.Base(source),
			"--config", "node_modules/@assemblyscript/wasi-shim/asconfig.json",
			"-O", "-o", out}
	},
}

func (b *builder) assemblyScript() string { return filepath.Join(b.cache(), "assemblyscript") }

// installAssemblyScript puts the compiler that the lock file pins, and the
// sources, into the cache: asc finds its libraries beside its sources, and the
// checkout shall stay clean.
func installAssemblyScript(b *builder) error {
	from := filepath.Join(b.sources, "assemblyscript")
	if err := os.MkdirAll(b.assemblyScript(), 0o755); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := copyFile(filepath.Join(from, f.Name()), filepath.Join(b.assemblyScript(), f.Name())); err != nil {
			return err
		}
	}
	// Written once npm is through, so that an install that was cut short is
	// done again.
	installed := filepath.Join(b.assemblyScript(), "node_modules", ".pinned")
	lock, err := os.ReadFile(filepath.Join(from, "package-lock.json"))
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(installed); err == nil && bytes.Equal(have, lock) {
		return nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("npm is not installed; " + debian + " nodejs and npm")
	}
	fmt.Fprintln(os.Stderr, "guests: getting the AssemblyScript compiler with npm")
	if err := b.command(npm, nil, b.assemblyScript(),
		"ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"); err != nil {
		return err
	}
	return os.WriteFile(installed, lock, 0o644)
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}

// command runs a program in dir; its output is shown only where it fails.
func (b *builder) command(program string, env []string, dir string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, output)
	}
	return nil
}
