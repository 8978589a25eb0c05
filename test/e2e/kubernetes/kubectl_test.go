package kubernetes

import (
	"context"
	"strings"
	"testing"
	"time"
)

// kubectl runs kubectl, which shall succeed within a minute, and returns what it
// wrote to its standard output.
func kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return kubectlIn(t, "", args...)
}

func kubectlIn(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	out, err := tryKubectl(t, stdin, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// tryKubectl is kubectl where the error is of interest, which has the standard
// error's text.
func tryKubectl(t testing.TB, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	cmd := cluster.Kubectl(ctx, args...)
	var out, problem strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &problem
	if err := cmd.Run(); err != nil {
		return out.String(), &kubectlError{err, problem.String() + out.String()}
	}
	return out.String(), nil
}

type kubectlError struct {
	err  error
	text string
}

func (e *kubectlError) Error() string { return e.err.Error() + ": " + strings.TrimSpace(e.text) }
func (e *kubectlError) Unwrap() error { return e.err }
