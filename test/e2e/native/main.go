// Native is a Linux program that runc runs, for comparison with the same thing
// as a Wasm guest; and one that shims give a container's output to log.
//
//	native hello | spin | log FILE
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "hello":
		fmt.Println("hello from native")
	case len(os.Args) == 2 && os.Args[1] == "spin":
		fmt.Println("spinning")
		for {
		}
	case len(os.Args) == 3 && os.Args[1] == "log":
		if err := log(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: native hello | spin | log FILE")
		os.Exit(2)
	}
}

// log writes to a file, line by line, what comes on descriptors 3 and 4, and says
// on 5 that it is ready: core/runtime/v2/logging of containerd.
func log(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	ready := os.NewFile(5, "ready")
	if _, err := ready.Write([]byte{0}); err != nil {
		return err
	}
	if err := ready.Close(); err != nil {
		return err
	}
	var streams sync.WaitGroup
	for fd, name := range map[uintptr]string{3: "stdout", 4: "stderr"} {
		streams.Go(func() {
			lines := bufio.NewScanner(os.NewFile(fd, name))
			for lines.Scan() {
				fmt.Fprintf(file, "%s %s: %s\n", os.Getenv("CONTAINER_ID"), name, lines.Text())
			}
		})
	}
	streams.Wait()
	return file.Close()
}
