package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

const (
	begin = "<!-- matrix:begin -->\n"
	end   = "<!-- matrix:end -->\n"
)

// render makes the table, in Markdown.
func render(rows []row, columns []column) string {
	var b strings.Builder
	b.WriteString("| containerd | calls |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.version)
	}
	b.WriteString("\n|---|---|" + strings.Repeat(":---:|", len(columns)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s |", r.what, r.calls)
		for _, c := range columns {
			mark := "✓"
			if c.complete([]row{r}) != nil {
				mark = "✗"
			}
			fmt.Fprintf(&b, " %s |", mark)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// keep makes sure that the file has the table: it writes it, or fails where
// another one is there.
func keep(file, table string, write bool) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := replace(string(old), table)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case text == string(old):
		return nil
	case write:
		return os.WriteFile(file, []byte(text), 0o644)
	}
	return fmt.Errorf("%s has another table than this one, which `make test-matrix UPDATE=1` writes:\n%s", file, table)
}

// replace puts the table between the markers of a text.
func replace(text, table string) (string, error) {
	head, rest, found := strings.Cut(text, begin)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", errors.New("there is no line <!-- matrix:begin --> with a line <!-- matrix:end --> after it")
	}
	return head + begin + table + end + tail, nil
}
