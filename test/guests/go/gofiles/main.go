// Gofiles does one thing to files, from the working directory it is given.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gofiles:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "cwd":
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		fmt.Println(dir)
		return nil
	case len(args) == 3 && args[0] == "write":
		return os.WriteFile(args[1], []byte(args[2]), 0o644)
	case len(args) == 2 && args[0] == "read":
		text, err := os.ReadFile(args[1])
		os.Stdout.Write(text)
		return err
	case len(args) == 2 && args[0] == "ls":
		entries, err := os.ReadDir(args[1])
		for _, e := range entries {
			fmt.Println(e.Name())
		}
		return err
	case len(args) == 2 && args[0] == "mkdir":
		return os.Mkdir(args[1], 0o755)
	case len(args) == 2 && args[0] == "rm":
		return os.Remove(args[1])
	default:
		return errors.New("usage: gofiles cwd | write PATH TEXT | read PATH | ls DIR | mkdir DIR | rm PATH")
	}
}
