// Build compiles the guests that the tests run.
//
//	go run ./test/guests/build [-out DIR] [-list] [name...]
//
// Each guest becomes DIR/NAME.wasm; without names, all of them. A guest whose
// sources, command and compiler are as they were is left alone. A compiler
// that is missing is an error that says how to get it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

func main() {
	out := flag.String("out", ".engines/guests", "the `folder` that gets the modules, relative to the module's root")
	list := flag.Bool("list", false, "print the guests' names and do nothing")
	flag.Parse()
	if *list {
		for _, g := range guests {
			fmt.Println(g.name)
		}
		return
	}
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run builds what names says, all of it where it says nothing. One guest that
// fails does not keep the others from being built.
func run(out string, names []string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if !filepath.IsAbs(out) {
		out = filepath.Join(root, out)
	}
	b := &builder{sources: filepath.Join(root, "test", "guests"), out: out}
	if err := os.MkdirAll(b.cache(), 0o755); err != nil {
		return err
	}
	wanted, err := choose(names)
	if err != nil {
		return err
	}
	var failed []error
	for _, g := range wanted {
		begin := time.Now()
		switch built, err := b.build(g); {
		case err != nil:
			failed = append(failed, fmt.Errorf("guests: %s: %w", g.name, err))
		case built:
			fmt.Fprintf(os.Stderr, "guests: %s.wasm built in %.1f s\n", g.name, time.Since(begin).Seconds())
		}
	}
	return errors.Join(failed...)
}

func choose(names []string) ([]guest, error) {
	if len(names) == 0 {
		return guests, nil
	}
	var chosen []guest
	for _, name := range names {
		i := slices.IndexFunc(guests, func(g guest) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("guests: there is no guest %q; -list prints those there are", name)
		}
		chosen = append(chosen, guests[i])
	}
	return chosen, nil
}

// moduleRoot is the closest folder, from the working directory upwards, that
// holds the guests' sources.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "guests", "build")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("guests: run this inside the project's checkout")
		}
		dir = parent
	}
}
