// Native is a Linux program that runc runs, for comparison with the same thing
// as a Wasm guest.
//
//	native hello | spin
package main

import (
	"fmt"
	"os"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "hello":
		fmt.Println("hello from native")
	case len(os.Args) == 2 && os.Args[1] == "spin":
		fmt.Println("spinning")
		for {
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: native hello | spin")
		os.Exit(2)
	}
}
