// Package table keeps tables in Markdown files as tests have found them.
package table

import (
	"fmt"
	"os"
	"strings"
)

// Keep makes sure that the file has the text between the lines
// <!-- NAME:begin --> and <!-- NAME:end -->: it writes it, or fails where another
// one is there. Update is the command that would write it, for the error.
func Keep(file, name, text string, write bool, update string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+":begin -->\n", "<!-- "+name+":end -->\n"
	head, rest, found := strings.Cut(string(old), begin)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s: there is no line %s with a line %s after it", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	whole := head + begin + text + end + tail
	switch {
	case whole == string(old):
		return nil
	case write:
		return os.WriteFile(file, []byte(whole), 0o644)
	}
	return fmt.Errorf("%s has another table than this one, which `%s` writes:\n%s", file, update, text)
}
