// Guest is one program for WASI and for Linux, so that what Docker makes of the
// two can be compared. It does what its first argument says, and writes errors
// by their names, which both have in common.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Println("no arguments")
		return
	}
	if err := do(os.Args[1], os.Args[2:]...); err != nil {
		fmt.Println(name(err))
		os.Exit(1)
	}
}

func do(verb string, args ...string) error {
	switch verb {
	case "say": // TEXT...
		fmt.Println(strings.Join(args, " "))
	case "both": // to either stream
		fmt.Println("out")
		fmt.Fprintln(os.Stderr, "err")
	case "exit": // CODE
		os.Exit(number(args))
	case "env": // NAME...
		for _, n := range args {
			fmt.Println(os.Getenv(n))
		}
	case "cwd":
		dir, err := os.Getwd()
		fmt.Println(dir)
		return err
	case "read": // PATH
		data, err := os.ReadFile(args[0])
		os.Stdout.Write(data)
		return err
	case "write": // PATH TEXT
		return os.WriteFile(args[0], []byte(args[1]), 0o644)
	case "fill": // PATH BYTES
		return os.WriteFile(args[0], make([]byte, number(args[1:])), 0o644)
	case "devices": // of the network
		return devices()
	case "listen": // ADDRESS
		return listen(args[0])
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "line": // of the standard input
		text, err := bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Print(text)
		return err
	case "tty":
		info, err := os.Stdin.Stat()
		fmt.Println(err == nil && info.Mode()&os.ModeCharDevice != 0)
		return err
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fallthrough
	case "sleep":
		fmt.Println("sleeping")
		time.Sleep(time.Hour)
	case "tick": // MILLISECONDS
		for i := 0; ; i++ {
			fmt.Println(i)
			time.Sleep(time.Duration(number(args)) * time.Millisecond)
		}
	case "grow": // MEBIBYTES
		var all [][]byte
		for range number(args) {
			block := make([]byte, 1<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			all = append(all, block)
		}
		fmt.Println(len(all))
	default:
		return fmt.Errorf("no verb %q", verb)
	}
	return nil
}

func number(args []string) int {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		panic(err)
	}
	return n
}

func devices() error {
	data, err := os.ReadFile("/proc/net/dev")
	var names []string
	for line := range strings.Lines(string(data)) {
		if device, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, strings.TrimSpace(device))
		}
	}
	slices.Sort(names)
	fmt.Println(strings.Join(names, " "))
	return err
}

// listen answers one connection.
func listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	c, err := l.Accept()
	if err != nil {
		return err
	}
	fmt.Fprintln(c, "answer")
	return c.Close()
}

// name is an error's name, where both systems have it.
func name(err error) string {
	for errno, name := range map[syscall.Errno]string{
		syscall.EACCES: "EACCES", syscall.EPERM: "EPERM", syscall.EROFS: "EROFS",
		syscall.ENOENT: "ENOENT", syscall.ENOSPC: "ENOSPC",
	} {
		if errors.Is(err, errno) {
			return name
		}
	}
	return err.Error()
}
