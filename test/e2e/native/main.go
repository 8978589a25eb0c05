// Native is a Linux program that runc runs, for comparison with the same thing
// as a Wasm guest, or beside one in a pod; and one that shims give a container's
// output to log.
//
//	native hello | spin | pause | cat | exit CODE | log FILE
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
)

func main() {
	args := os.Args[1:]
	switch {
	case len(args) == 1 && args[0] == "hello":
		fmt.Println("hello from native")
	case len(args) == 1 && args[0] == "spin":
		fmt.Println("spinning")
		for {
		}
	case len(args) == 1 && args[0] == "pause":
		pause()
	case len(args) == 1 && args[0] == "cat":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			fail(err)
		}
	case len(args) == 2 && args[0] == "exit":
		code, err := strconv.Atoi(args[1])
		if err != nil {
			fail(err)
		}
		os.Exit(code)
	case len(args) == 2 && args[0] == "log":
		if err := log(args[1]); err != nil {
			fail(err)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: native hello | spin | pause | cat | exit CODE | log FILE")
		os.Exit(2)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// pause waits for SIGTERM, as a pod's pause container does.
func pause() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	fmt.Println("pausing")
	<-end
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
