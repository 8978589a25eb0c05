package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what a message says, in bytes.
const (
	maxName    = 128
	maxMessage = 2 << 10
	maxFrame   = 512
	maxStack   = 8 << 10
)

// blame is an error about a module. It is one line, whatever the module calls
// its parts.
func blame(module string, err error) error {
	return errors.New(plain(fmt.Sprintf("module %s %s", module, err), maxMessage))
}

// plain makes a text out of one that may be a module's: a message goes to logs
// and terminals, where a control character is a command. What cannot be printed
// is written as in Go source, and what exceeds most bytes is left out.
func plain(text string, most int) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		shown := text[:size]
		switch {
		case r == utf8.RuneError && size == 1:
			shown = fmt.Sprintf(`\x%02x`, text[0])
		case !strconv.IsPrint(r):
			quoted := strconv.QuoteRune(r)
			shown = quoted[1 : len(quoted)-1]
		}
		if b.Len()+len(shown) > most {
			return fmt.Sprintf("%s… (%d bytes more)", b.String(), len(text))
		}
		b.WriteString(shown)
		text = text[size:]
	}
	return b.String()
}
