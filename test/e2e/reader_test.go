package e2e

import (
	"strings"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
)

// slowly is a writer that takes its time for the first bytes.
type slowly struct {
	output
	begun bool
}

func (s *slowly) Write(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		time.Sleep(200 * time.Millisecond)
	}
	return s.output.Write(p)
}

// TestSlowReader has a client that deletes the task as soon as it hears of its
// end, while there is still output to be read.
func TestSlowReader(t *testing.T) {
	leavesNothing(t)
	text := strings.Repeat("x", 50_000)
	var stdout slowly
	b := plan{guest: "args", args: []string{text}, io: cio.NewCreator(cio.WithStreams(nil, &stdout, nil))}.start(t)
	<-b.exit
	if _, err := b.task.Delete(namespaced(t.Context()), containerd.WithProcessKill); err != nil {
		t.Fatal(err)
	}
	if got, want := len(stdout.String()), len("/args.wasm\n")+len(text)+1; got != want {
		t.Fatalf("%d bytes of %d arrived", got, want)
	}
}
