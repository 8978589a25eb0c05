package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// A column holds what one containerd did.
type column struct {
	version string
	passed  map[string]bool // by the name of a test
}

// pattern is the -test.run argument for the tests of all rows.
func pattern(rows []row) string {
	var names []string
	for _, r := range rows {
		names = append(names, r.tests...)
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// verdict is the line that ends a test but not those of its subtests, which
// are indented.
var verdict = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \((\S+)\)`)

// follow reads the output of a test program run with -test.v to its end. It
// writes a line on each test that passes, and all that a failing one says.
func follow(w io.Writer, output io.Reader) (passed map[string]bool, err error) {
	passed = map[string]bool{}
	var pending strings.Builder
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20) // a test may log what a guest wrote
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "=== ") || line == "PASS" {
			continue
		}
		m := verdict.FindStringSubmatch(line)
		if m == nil {
			if !strings.Contains(line, "--- PASS: ") {
				pending.WriteString(line + "\n")
			}
			continue
		}
		if passed[m[2]] = m[1] == "PASS"; passed[m[2]] {
			line = fmt.Sprintf("  %s %s", m[2], m[3])
		} else {
			io.WriteString(w, pending.String())
		}
		pending.Reset()
		if _, err := fmt.Fprintln(w, line); err != nil {
			return passed, err
		}
	}
	io.WriteString(w, pending.String()) // such as a panic
	return passed, lines.Err()
}

// complete fails if a test of the rows did not pass.
func (c column) complete(rows []row) error {
	for _, r := range rows {
		for _, test := range r.tests {
			if !c.passed[test] {
				return fmt.Errorf("%s did not pass", test)
			}
		}
	}
	return nil
}
