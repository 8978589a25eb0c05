package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/sys"
)

// Exit codes of a container whose guest did not choose one itself.
const (
	// exitHost is for an error of the runtime, as `docker run` has it.
	exitHost = 125
	// exitTrap is what a native program gives that ends by SIGABRT.
	exitTrap = 134
)

// exitCode is what the kernel makes of a code that a process exits with.
func exitCode(code uint32) int { return int(code & 0xff) }

// Parts of wazero's error messages (internal/wasmdebug).
const (
	wazeroTrap      = "wasm error: "
	wazeroRecovered = " (recovered by wazero)"
	wazeroStack     = "\nwasm stack trace:\n\t"
	wazeroOmitted   = "... maybe followed by omitted frames"
	wazeroGoStack   = "\n\nGo runtime stack trace:"
)

// hostFailure is an error that is not the guest's.
type hostFailure struct{ text string }

func (f *hostFailure) Error() string { return f.text }

// outcome is what a call's error means: the container's exit code, and where
// the guest did not exit by itself the message for the standard error, whole
// lines. Of the stack, wazero keeps the innermost 30 frames.
func outcome(module string, err error) (message string, code int) {
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		return "", exitCode(exit.ExitCode())
	}
	module = plain(module, maxMessage)
	text, stack, _ := strings.Cut(err.Error(), wazeroStack)
	stack, _, _ = strings.Cut(stack, wazeroGoStack)
	text, panicked := strings.CutSuffix(text, wazeroRecovered)
	if host := (*hostFailure)(nil); panicked || errors.As(err, &host) {
		return fmt.Sprintf("wasm-sandbox: module %s: the runtime failed: %s\n%s", module, plain(text, maxMessage), frames(stack)), exitHost
	}
	// In a start section wazero says where the trap was, too.
	if i := strings.Index(text, wazeroTrap); i >= 0 {
		text = text[i+len(wazeroTrap):]
	}
	return fmt.Sprintf("wasm-sandbox: module %s trapped: %s\n%s", module, plain(text, maxMessage), frames(stack)), exitTrap
}

// frames puts wazero's stack, functions with the source lines below each, into
// lines of our own. The functions' names are the module's.
func frames(stack string) string {
	var b strings.Builder
	for line := range strings.Lines(stack) {
		line = strings.TrimRight(line, "\n")
		source, isSource := strings.CutPrefix(line, "\t\t")
		frame := strings.TrimPrefix(line, "\t")
		source, frame = plain(source, maxFrame), plain(frame, maxFrame)
		switch {
		case frame == "":
		case b.Len() > maxStack:
			return b.String() + "    ...\n"
		case isSource:
			fmt.Fprintf(&b, "        %s\n", source)
		case frame == wazeroOmitted:
			fmt.Fprintf(&b, "    ...\n")
		default:
			// The module has no name: of MODULE.FUNCTION the dot is left.
			fmt.Fprintf(&b, "    at %s\n", strings.TrimPrefix(frame, "."))
		}
	}
	return b.String()
}
