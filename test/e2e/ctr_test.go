package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
}

// ctr runs ctr to its end.
func ctr(t *testing.T, args ...string) result {
	t.Helper()
	return ctrWithStdin(t, nil, args...)
}

func ctrWithStdin(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := ctrStreaming(t, stdin, &stdout, &stderr, args...)
	return result{stdout.String(), stderr.String(), code}
}

func ctrStreaming(t *testing.T, stdin io.Reader, stdout, stderr io.Writer, args ...string) (code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scaled(90*time.Second))
	defer cancel()
	cmd := engine.Ctr(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && (ctx.Err() != nil || !errors.As(err, &exit)) {
		t.Fatalf("ctr %s: %v", strings.Join(args, " "), errors.Join(err, ctx.Err()))
	}
	return cmd.ProcessState.ExitCode()
}

// mustCtr runs ctr, which shall succeed, and returns its output.
func mustCtr(t *testing.T, args ...string) string {
	t.Helper()
	r := ctr(t, args...)
	if r.code != 0 {
		t.Fatalf("ctr %s: %s", strings.Join(args, " "), r)
	}
	return r.stdout
}

// ctrRun is `ctr run --rm` of a guest. Arguments replace the whole command line
// of the container, so the module's name comes first in them.
func ctrRun(t *testing.T, guest string, flags []string, args ...string) result {
	t.Helper()
	return ctr(t, ctrRunArgs(t, guest, flags, args...)...)
}

func ctrRunArgs(t *testing.T, guest string, flags []string, args ...string) []string {
	argv := append([]string{"run", "--rm", "--runtime", wasmRuntime}, flags...)
	argv = append(argv, imageName(guest), newID(t))
	if len(args) > 0 {
		argv = append(argv, "/"+guest+".wasm")
	}
	return append(argv, args...)
}

func (r result) wantCode(t *testing.T, code int) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d wanted: %s", code, r)
	}
}

func (r result) wantStdout(t *testing.T, want string) {
	t.Helper()
	if r.stdout != want {
		t.Fatalf("stdout %q wanted: %s", want, r)
	}
}

func (r result) wantStderr(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(r.stderr, part) {
			t.Errorf("%q wanted on stderr: %s", part, r)
		}
	}
}

var (
	ids   atomic.Int64
	notID = regexp.MustCompile(`[^a-z0-9]+`)
)

// newID is a container id that tells the test's name.
func newID(t *testing.T) string {
	name := strings.Trim(notID.ReplaceAllString(strings.ToLower(t.Name()), "-"), "-")
	return fmt.Sprintf("%.60s-%d", name, ids.Add(1))
}
