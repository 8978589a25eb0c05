package main

import "fmt"

// A guest is one module that the tests run.
type guest struct {
	name string
	// source is what it is made of, relative to test/guests: a file, a folder
	// of a Go program, or nothing where bytes is set.
	source string
	// compile makes the module from it.
	compile compiler
	// flags are the compiler's, for this guest.
	flags []string
	// bytes is a module written by hand.
	bytes func() []byte
}

var guests = func() []guest {
	all := []guest{
		goGuest("hello-go", "hello"),
		goGuest("gocat", "gocat"),
		goGuest("gofiles", "gofiles"),
		goGuest("goescape", "goescape"),
		goGuest("conform-go", "conform"),
		goGuest("listener", "listener"),
		cGuest("hello-c", "hello"),
		// With debug information for source lines in the stack, and without
		// optimisation, which would find that some traps never happen.
		cGuest("trap", "trap", "-g", "-O0"),
		// What closing a file says is of no interest to an escape.
		cGuest("escape", "escape", "-Wno-unused-result"),
		cGuest("reactor", "reactor", "-mexec-model=reactor"),
		{name: "hello-rust", source: "rust/hello.rs", compile: rustc},
		{name: "hello-as", source: "assemblyscript/hello.ts", compile: asc},
	}
	for _, name := range []string{"alloc", "args", "cat", "conform", "count", "cwd", "env", "exit", "files", "isatty", "sleep", "spin"} {
		all = append(all, cGuest(name, name))
	}
	return append(all, malformed...)
}()

func goGuest(name, folder string) guest {
	return guest{name: name, source: "go/" + folder, compile: goBuild}
}

func cGuest(name, file string, flags ...string) guest {
	return guest{name: name, source: fmt.Sprintf("c/%s.c", file), compile: clang, flags: flags}
}
