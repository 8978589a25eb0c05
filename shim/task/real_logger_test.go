package task

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/core/runtime/v2/logging"
)

// loggerArg as its first argument makes the test program a logging program.
const loggerArg = "play-logger"

// playLogger writes what it reads into the file named by the second argument;
// the third says how it behaves.
func playLogger() {
	file, behaviour := os.Args[2], ""
	if len(os.Args) > 3 {
		behaviour = os.Args[3]
	}
	switch behaviour {
	case "crash":
		os.Exit(1)
	case "mute":
		time.Sleep(time.Hour)
	}
	logging.Run(func(ctx context.Context, config *logging.Config, ready func() error) error {
		if err := ready(); err != nil {
			return err
		}
		if behaviour == "late" {
			time.Sleep(300 * time.Millisecond)
		}
		out, err := io.ReadAll(config.Stdout)
		if err != nil {
			return err
		}
		errors, err := io.ReadAll(config.Stderr)
		if err != nil {
			return err
		}
		if behaviour == "stays" {
			<-ctx.Done()
		}
		text := fmt.Sprintf("%s/%s out %q err %q args %q", config.Namespace, config.ID, out, errors, os.Args[3:])
		return os.WriteFile(file, []byte(text), 0o600)
	})
}

// loggerURI names the test program as a logging program that writes to file.
func loggerURI(t *testing.T, scheme, file string, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	query := loggerArg + "=" + url.QueryEscape(file)
	for i := 0; i+1 < len(args); i += 2 {
		query += "&" + url.QueryEscape(args[i]) + "=" + url.QueryEscape(args[i+1])
	}
	return scheme + "://" + self + "?" + query
}

func TestRealLogger(t *testing.T) {
	for _, scheme := range []string{"binary", "binary-v2"} {
		for _, behaviour := range []string{"", "late"} {
			t.Run(scheme+behaviour, func(t *testing.T) {
				r := newReal(t)
				file := filepath.Join(t.TempDir(), "log")
				request := r.request("c", hello)
				request.Stdout = loggerURI(t, scheme, file, behaviour, "a b", "z", "", "b", "1&2")
				request.Stderr = request.Stdout
				r.create(request)
				r.start("c")
				r.wait("c")
				r.remove("c") // waits for the program
				want := fmt.Sprintf(`test/c out "hello\n" err "" args [%q "a b" "z" "" "b" "1&2"]`, behaviour)
				if got, err := os.ReadFile(file); err != nil || string(got) != want {
					t.Errorf("logged %s, %v; want %s", got, err, want)
				}
			})
		}
	}
}

func TestRealLoggerOfATerminal(t *testing.T) {
	r := newReal(t)
	file := filepath.Join(t.TempDir(), "log")
	r.create(withTool(t, r.request("c", spins), hello))
	r.start("c")
	request := execRequest(t, "c", "e")
	request.Terminal, request.Stdout = true, loggerURI(t, "binary", file)
	r.exec(request)
	if status := r.waitExec("c", "e"); status != 3 {
		t.Errorf("exit status %d, want 3", status)
	}
	if _, err := r.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c", ExecID: "e"}); err != nil {
		t.Fatal(err)
	}
	want := `test/e out "hello\r\n" err "" args []`
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("logged %s, %v; want %s", got, err, want)
	}
}

func TestRealLoggersThatAreNotReady(t *testing.T) {
	r := newReal(t)
	file := filepath.Join(t.TempDir(), "log")
	request := r.request("c", hello)
	request.Stdout = loggerURI(t, "binary-v2", file, "crash", "")
	if _, err := r.Create(t.Context(), request); err == nil || !strings.Contains(err.Error(), "without the byte") {
		t.Errorf("Create answers %v", err)
	}
	// With a program of the first kind that cannot be told.
	request.Stdout = loggerURI(t, "binary", file, "crash", "")
	r.create(request)
}

func TestRealLoggerThatStays(t *testing.T) {
	r := newReal(t)
	file := filepath.Join(t.TempDir(), "log")
	request := r.request("c", hello)
	request.Stdout = loggerURI(t, "binary", file, "stays", "")
	r.create(request)
	r.start("c")
	r.wait("c")
	r.remove("c")
	if got, err := os.ReadFile(file); err != nil || !strings.Contains(string(got), `out "hello\n"`) {
		t.Errorf("logged %s, %v", got, err)
	}
}
