// Package hostile has modules made to harm whoever runs them: too many of
// something, too much of it, or a lie about how much there is. Each has a name
// and the outcome that it must have. Most are written byte by byte, because no
// compiler makes them.
package hostile

import (
	"fmt"
	"os"
)

// A Recipe is one way to attack a runtime.
type Recipe struct {
	Name string
	// What is what it does, for the manual.
	What string
	// Module makes the file's content. Zeros bytes of zero follow it, which take
	// no space on a disk.
	Module func() []byte
	Zeros  int64
	// Args are the guest's, after the program's name.
	Args []string
	Outcome
}

// An Outcome is how a container of a recipe ends. Its zero value is a guest
// that ends by itself with exit code 0.
type Outcome struct {
	// Refused is a part of the error with which the container is not created.
	Refused string
	// Exit is the exit code, and Stderr a part of what is on the standard error.
	Exit   int
	Stderr string
	// OOM says that the kernel ends it for want of memory, and tells of it.
	OOM bool
	// Slow says that it is not created because compiling it takes longer than the
	// runtime's option CompileTimeout allows.
	Slow bool
	// Killed says that it runs for ever, and ends when it is told to.
	Killed bool
	// Why says in the manual what else there is to say.
	Why string
}

// String is the outcome in words, for a table in Markdown.
func (o Outcome) String() string {
	if o.Why != "" {
		return o.end() + "; " + o.Why
	}
	return o.end()
}

func (o Outcome) end() string {
	switch {
	case o.Refused != "":
		return fmt.Sprintf("not created: `%s`", o.Refused)
	case o.Slow:
		return "not created: `compiling took more than` what `CompileTimeout` allows"
	case o.OOM:
		return "killed for want of memory: 137, and an event `/tasks/oom`"
	case o.Killed:
		return "runs until it is killed"
	case o.Exit != 0:
		return fmt.Sprintf("exit code %d: `%s`", o.Exit, o.Stderr)
	}
	return "exit code 0"
}

// Write writes the module to a file.
func (r Recipe) Write(path string) error {
	content := r.Module()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return err
	}
	return os.Truncate(path, int64(len(content))+r.Zeros)
}

// All are the recipes, in the manual's order.
func All() []Recipe {
	var all []Recipe
	for _, some := range [][]Recipe{files, sections, definitions, names, debugs, bodies, memories, runs, calls} {
		all = append(all, some...)
	}
	return all
}
