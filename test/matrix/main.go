// Matrix runs the end-to-end tests under several containerds, one after the
// other, and keeps a table of the results.
//
//	matrix [-readme FILE [-update]] TESTS DIR...
//
// TESTS is the compiled test program of test/e2e. Each DIR has the containerd
// and ctr of one version, the table's columns in that order; all other programs
// come from $E2E_BIN, the guests from $E2E_GUESTS.
//
// FILE has the table, between <!-- matrix:begin --> and <!-- matrix:end -->. It
// is written with -update; else matrix fails where it is not the one found, as
// it does where a test fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/table"
)

func main() {
	readme := flag.String("readme", "", "the `file` with the table")
	update := flag.Bool("update", false, "write the table")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: matrix [-readme FILE [-update]] TESTS DIR...") }
	flag.Parse()
	if flag.NArg() < 2 || *update && *readme == "" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	columns, err := run(ctx, flag.Arg(0), flag.Args()[1:])
	if *readme != "" && ctx.Err() == nil {
		err = errors.Join(err, table.Keep(*readme, "matrix", render(rows, columns), *update, "make test-matrix UPDATE=1"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, tests string, dirs []string) (columns []column, failed error) {
	for _, dir := range dirs {
		c, err := try(ctx, tests, dir)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed = errors.Join(failed, err)
		columns = append(columns, c)
	}
	return columns, failed
}

// try runs the tests of all rows under the containerd in dir.
func try(ctx context.Context, tests, dir string) (column, error) {
	version, err := versionOf(ctx, filepath.Join(dir, "containerd"))
	if err != nil {
		return column{}, err
	}
	fmt.Printf("containerd %s\n", version)
	// Longer than the test program's own limit, which tells where it hung.
	ctx, cancel := context.WithTimeout(ctx, 16*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tests, "-test.v", "-test.timeout=15m", "-test.run="+pattern(rows))
	cmd.Env = append(os.Environ(), "E2E_BIN="+dir+":"+os.Getenv("E2E_BIN"))
	cmd.Stderr = os.Stderr
	// It removes its control groups before it ends.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return column{}, err
	}
	if err := cmd.Start(); err != nil {
		return column{}, err
	}
	c := column{version: version}
	c.passed, err = follow(os.Stdout, out)
	err = errors.Join(err, cmd.Wait())
	if err == nil {
		err = c.complete(rows)
	}
	if err != nil {
		err = fmt.Errorf("containerd %s: %w", version, err)
	}
	return c, err
}

var number = regexp.MustCompile(`\d+\.\d+\.\d+`)

func versionOf(ctx context.Context, program string) (string, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	version := number.Find(out)
	if version == nil {
		return "", fmt.Errorf("%s --version tells no version: %q", program, out)
	}
	return string(version), nil
}
