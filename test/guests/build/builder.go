package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

type builder struct {
	sources string // test/guests
	out     string // where the modules go
}

// cache holds the keys of what is built and what compilers leave behind.
func (b *builder) cache() string { return filepath.Join(b.out, ".cache") }

// build makes one guest, unless it is there already; built says which.
func (b *builder) build(g guest) (built bool, err error) {
	key, err := b.key(g)
	if err != nil {
		return false, err
	}
	result := filepath.Join(b.out, g.name+".wasm")
	keyFile := filepath.Join(b.cache(), g.name+".key")
	if have, err := os.ReadFile(keyFile); err == nil && string(have) == key {
		if _, err := os.Stat(result); err == nil {
			return false, nil
		}
	}
	// A module appears under its name whole or not at all: tests may read the
	// folder while it is filled.
	draft, err := os.MkdirTemp(b.cache(), g.name+"-*")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(draft)
	module := filepath.Join(draft, g.name+".wasm")
	if g.bytes != nil {
		err = os.WriteFile(module, g.bytes(), 0o644)
	} else {
		err = b.compile(g, module)
	}
	if err != nil {
		return false, err
	}
	if err := os.Rename(module, result); err != nil {
		return false, err
	}
	return true, os.WriteFile(keyFile, []byte(key), 0o644)
}

func (b *builder) compile(g guest, module string) error {
	program, err := g.compile.find()
	if err != nil {
		return err
	}
	if g.compile.prepare != nil {
		if err := g.compile.prepare(b); err != nil {
			return err
		}
	}
	dir := b.sources
	if g.compile.in != nil {
		dir = g.compile.in(b)
	}
	source := filepath.Join(b.sources, g.source)
	return b.command(program, g.compile.env, dir, g.compile.args(b, source, module, g.flags)...)
}

func (c compiler) find() (string, error) {
	program, err := exec.LookPath(c.program)
	if err != nil {
		return "", fmt.Errorf("%s is not installed; %s", c.program, c.remedy)
	}
	return program, nil
}

// key changes with everything that a guest is made of.
func (b *builder) key(g guest) (string, error) {
	h := sha256.New()
	if g.bytes != nil {
		h.Write(g.bytes())
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	program, err := g.compile.find()
	if err != nil {
		return "", err
	}
	version, err := exec.Command(program, g.compile.version...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", program, strings.Join(g.compile.version, " "), err)
	}
	args := g.compile.args(b, g.source, "", g.flags)
	fmt.Fprintf(h, "%q %q %q\n", version, g.compile.env, args)
	for _, path := range append([]string{g.source}, g.compile.depends...) {
		if err := hashFiles(h, filepath.Join(b.sources, path)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashFiles feeds the file, or every file below the folder, into h.
func hashFiles(h io.Writer, path string) error {
	return filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", path, len(content))
		_, err = h.Write(content)
		return err
	})
}
