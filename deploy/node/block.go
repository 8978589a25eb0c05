package node

import (
	"bytes"
	"strings"
)

// The lines around a block.
const (
	begin = "# wasm-node-installer begins here"
	end   = "# wasm-node-installer ends here\n"

	// What begin says besides, so that the file can be restored to the byte.
	noNewline = "; the line before had no end"
	newFile   = "; there was no file"
)

// span is where a block is in a file.
type span struct {
	start, stop int    // with the lines around it and a newline before that was not there
	body        string // whole lines
	note        string // what begin says besides
}

// findBlock finds the block in a file.
func findBlock(content []byte) (s span, ok bool) {
	at := bytes.Index(content, []byte(begin))
	if at < 0 || at > 0 && content[at-1] != '\n' {
		return span{}, false
	}
	head, rest, ok := strings.Cut(string(content[at:]), "\n")
	body, _, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return span{}, false // somebody has taken it apart
	}
	s = span{start: at, stop: at + len(head) + 1 + len(body) + len(end), body: body, note: head[len(begin):]}
	if s.note == noNewline {
		s.start--
	}
	return s, true
}

// withBlock puts a block of whole lines at the end of a file, or in the place of
// the one that is there. Content that is nil is a file to be made.
func withBlock(content []byte, body string) []byte {
	s, ok := findBlock(content)
	if !ok {
		s = span{start: len(content), stop: len(content)}
		switch {
		case content == nil:
			s.note = newFile
		case len(content) > 0 && content[len(content)-1] != '\n':
			s.note = noNewline
		}
	}
	var out bytes.Buffer
	out.Write(content[:s.start])
	if s.note == noNewline {
		out.WriteByte('\n')
	}
	out.WriteString(begin + s.note + "\n" + body + end)
	out.Write(content[s.stop:])
	return out.Bytes()
}

// withoutBlock is a file as it was, and nil if there was none.
func withoutBlock(content []byte) []byte {
	s, ok := findBlock(content)
	if !ok {
		return content
	}
	if s.note == newFile && s.start == 0 && s.stop == len(content) {
		return nil
	}
	return append(bytes.Clone(content[:s.start]), content[s.stop:]...)
}
