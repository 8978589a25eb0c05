// Fill is a guest that appends zeros to a file until an error, or the kernel,
// ends it.
//
//	fill PATH
package main

import (
	"fmt"
	"os"
)

func main() {
	file, err := os.Create(os.Args[1])
	for block := make([]byte, 1<<20); err == nil; {
		_, err = file.Write(block)
	}
	fmt.Fprintln(os.Stderr, "fill:", err)
	os.Exit(1)
}
