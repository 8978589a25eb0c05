// Package sentence says what an error for a person must be, whatever a hostile
// input was: one line that begins with what it is about.
package sentence

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Check fails the test unless err is such a line. It begins with one of subjects:
// a field of the runtime spec, say.
func Check(t *testing.T, err error, subjects ...string) {
	t.Helper()
	text := err.Error()
	// A terminal takes control characters for commands.
	if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
		t.Errorf("the error is not one line of text: %q", text)
	}
	for _, subject := range subjects {
		if strings.HasPrefix(text, subject) {
			return
		}
	}
	t.Errorf("the error does not begin with what it is about: %q", text)
}
