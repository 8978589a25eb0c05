// Gocat copies the standard input to the standard output.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "gocat:", err)
		os.Exit(1)
	}
}
