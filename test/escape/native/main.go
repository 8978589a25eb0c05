// Native is the attacker as a Linux program, for a container of runc's.
//
//	native SECRET [NAME]
package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/escape"
)

func main() {
	switch len(os.Args) {
	case 2:
		// Each in a process of its own: here some succeed.
		for _, a := range escape.Attempts {
			cmd := exec.Command(os.Args[0], os.Args[1], a.Name)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			if err := cmd.Run(); err != nil {
				fmt.Printf("%s\t%v\t\n", a.Name, err)
			}
		}
	case 3:
		escape.Run(os.Stdout, os.Args[1], os.Args[2])
	}
}
