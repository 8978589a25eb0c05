package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

func newFIFO(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens standard streams that must open.
func open(t *testing.T, stdin, stdout, stderr string) *stdio {
	t.Helper()
	s, err := tryOpen(t, streams{stdin: stdin, stdout: stdout, stderr: stderr})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tryOpen does not wait long for readers.
func tryOpen(t *testing.T, given streams) (*stdio, error) {
	t.Helper()
	return tryOpenAs(t, given, 0)
}

func tryOpenAs(t *testing.T, given streams, user int) (*stdio, error) {
	t.Helper()
	s, err := openStdio(t.Context(), stdioConfig{
		streams: given, patience: 10 * time.Millisecond, streaming: newStreaming(), exits: newExits(), owner: user, log: log.L,
	})
	t.Cleanup(func() { shut(s) })
	return s, err
}

// shut closes standard streams without waiting for anything.
func shut(s *stdio) {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	s.close(done)
}

// reader reads a FIFO, from when somebody writes, to its end in the background.
// It counts as a reader before reader returns.
func reader(t *testing.T, path string) <-chan string {
	t.Helper()
	present, err := openFIFO(path, unix.O_RDONLY, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { present.Close() })
	opened := make(chan string, 1)
	go func() {
		f, err := os.Open(path) // waits for a writer
		if err != nil {
			t.Error(err)
			return
		}
		opened <- <-readAll(t, f)
	}()
	return opened
}

func readAll(t *testing.T, f *os.File) <-chan string {
	result := make(chan string, 1)
	go func() {
		defer f.Close()
		data, err := io.ReadAll(f)
		if err != nil {
			t.Error(err)
		}
		result <- string(data)
	}()
	return result
}

func receive(t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("no end of file")
		return ""
	}
}

func silent(t *testing.T, from <-chan string, why string) {
	t.Helper()
	select {
	case got := <-from:
		t.Fatalf("end of file after %q although %s", got, why)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestNoStreamsAreNull(t *testing.T) {
	in, out, err := open(t, "", "", "").theirs()
	if in != nil || out != nil || err != nil {
		t.Errorf("got %v %v %v, want nil", in, out, err)
	}
}

func TestOutputEndsWithTheProcess(t *testing.T) {
	path := newFIFO(t, "out")
	got := reader(t, path)
	s := open(t, "", path, "")
	_, out, _ := s.theirs()
	flags, err := unix.FcntlInt(out.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("the process's end has flags %#x, %v: it must block", flags, err)
	}
	fmt.Fprint(out, "hello")
	s.handedOver() // as if the process had ended, which held the only other end
	silent(t, got, "the shim holds the FIFO")
	s.finish()
	if got := receive(t, got); got != "hello" {
		t.Errorf("read %q", got)
	}
}

// A daemon that is restarted opens the FIFO anew: no byte is lost meanwhile, and
// the writer sees nothing of it.
func TestOutputOutlivesItsReader(t *testing.T) {
	path := newFIFO(t, "out")
	first, err := openFIFO(path, unix.O_RDONLY, false)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, "", path, "")
	_, out, _ := s.theirs()
	first.Close()
	if _, err := fmt.Fprint(out, "nobody reads this yet"); err != nil {
		t.Fatal(err)
	}
	s.handedOver()
	s.finish()
	if got := receive(t, reader(t, path)); got != "nobody reads this yet" {
		t.Errorf("read %q", got)
	}
}

// A reader may open the FIFO only after the process has ended without a word.
func TestOutputWaitsForALateReader(t *testing.T) {
	path := newFIFO(t, "out")
	s := open(t, "", path, "")
	s.handedOver()
	s.finish()
	f, err := os.Open(path) // blocks until there is a writer
	if err != nil {
		t.Fatal(err)
	}
	if got := receive(t, readAll(t, f)); got != "" {
		t.Errorf("read %q", got)
	}
}

func TestCloseEndsOutputThatNobodyReads(t *testing.T) {
	path := newFIFO(t, "out")
	s := open(t, "", path, "")
	_, out, _ := s.theirs()
	fmt.Fprint(out, "lost")
	s.handedOver()
	s.finish()
	shut(s)
	for range 1000 { // until the shim holds no end any more
		_, err := openFIFO(path, unix.O_WRONLY, false)
		if errors.Is(err, unix.ENXIO) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the shim still holds the FIFO")
}

func TestInputEndsWithCloseIO(t *testing.T) {
	path := newFIFO(t, "in")
	s := open(t, path, "", "")
	in, _, _ := s.theirs()
	copied, err := unix.FcntlInt(in.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.handedOver()
	got := readAll(t, os.NewFile(uintptr(copied), "in"))
	client, err := openFIFO(path, unix.O_WRONLY, false)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(client, "hello")
	client.Close()
	silent(t, got, "the shim holds a write end")
	s.closeStdin()
	if got := receive(t, got); got != "hello" {
		t.Errorf("read %q", got)
	}
	s.closeStdin()
}

func TestFIFOsBelongToTheUserAndLogsDoNot(t *testing.T) {
	for name, c := range map[string]struct {
		client, want int
	}{"of the shim's user": {0, 1234}, "of another client": {99, 99}} {
		t.Run(name, func(t *testing.T) {
			in, out, log := newFIFO(t, "stdin"), newFIFO(t, "stdout"), filepath.Join(t.TempDir(), "log")
			for _, path := range []string{in, out} {
				if err := os.Chown(path, c.client, -1); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := tryOpenAs(t, streams{stdin: in, stdout: out, stderr: "file://" + log}, 1234); err != nil {
				t.Fatal(err)
			}
			for path, want := range map[string]int{in: c.want, out: c.want, log: 0} {
				var st unix.Stat_t
				if err := unix.Stat(path, &st); err != nil || int(st.Uid) != want {
					t.Errorf("%s is user %d's, %v; not user %d's", path, st.Uid, err, want)
				}
			}
		})
	}
}

func TestFileIsAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "c.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, "", "file://"+path, "file://"+path)
	_, out, err := s.theirs()
	if out != err {
		t.Error("two files for one path")
	}
	fmt.Fprintln(out, "out")
	fmt.Fprintln(err, "err")
	s.handedOver()
	s.finish()
	got, readErr := os.ReadFile(path)
	if readErr != nil || !bytes.Equal(got, []byte("before\nout\nerr\n")) {
		t.Errorf("the file has %q, %v", got, readErr)
	}

	other := filepath.Join(t.TempDir(), "a b", "deep", "c.log")
	s = open(t, "", "file://"+strings.ReplaceAll(other, " ", "%20"), "")
	s.handedOver()
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// TestFilesAreNotHandedOver holds that a process gets pipes in place of files,
// which it could cut or open again with other rights.
func TestFilesAreNotHandedOver(t *testing.T) {
	dir := t.TempDir()
	in, out, log := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "log")
	for _, path := range []string{in, out} {
		if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, in, out, "file://"+log)
	stdin, stdout, stderr := s.theirs()
	for _, f := range []*os.File{stdin, stdout, stderr} {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			t.Errorf("the process gets a %v, %v", info.Mode(), err)
		}
	}
	if got, err := io.ReadAll(stdin); err != nil || string(got) != "before\n" {
		t.Errorf("read %q, %v", got, err)
	}
	fmt.Fprintln(stdout, "after")
	s.handedOver()
	s.finish()
	if got, err := os.ReadFile(out); err != nil || string(got) != "before\nafter\n" {
		t.Errorf("the file has %q, %v", got, err)
	}
}

func TestStreamsThatCannotBe(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	tests := []struct {
		stdin, stdout, stderr string
		want                  string
		kind                  error
	}{
		{stdout: "binary:///no/logger?x=y", want: "stdout: binary:///no/logger?x=y: the shim knows no containerd namespace", kind: errdefs.ErrInvalidArgument},
		{stdout: "ttrpc+unix:///run/s", want: "no streaming_id", kind: errdefs.ErrInvalidArgument},
		{stderr: "grpc+vsock://3:1024?streaming_id=x", want: `stderr: the scheme "grpc+vsock"`, kind: errdefs.ErrInvalidArgument},
		{stdin: "file:///dev/zero", want: `stdin: the scheme "file"`, kind: errdefs.ErrInvalidArgument},
		{stdout: "file://relative", want: "not an absolute path", kind: errdefs.ErrInvalidArgument},
		{stdin: absent, want: "stdin: open " + absent, kind: os.ErrNotExist},
		{stdout: absent, want: "stdout: open " + absent, kind: os.ErrNotExist},
	}
	before := descriptors(t)
	for _, test := range tests {
		_, err := tryOpen(t, streams{stdin: test.stdin, stdout: test.stdout, stderr: test.stderr})
		if err == nil {
			t.Errorf("%+v was opened", test)
			continue
		}
		if !strings.Contains(err.Error(), test.want) || !errors.Is(err, test.kind) {
			t.Errorf("error %q, want %q", err, test.want)
		}
	}
	if _, err := os.Stat(absent); err == nil {
		t.Error("a file was made where a FIFO should be")
	}
	// What was opened before the failure must be closed.
	fifo := newFIFO(t, "fifo")
	if _, err := tryOpen(t, streams{stdin: fifo, stdout: fifo, stderr: absent}); err == nil {
		t.Error("opened")
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

func TestNoDescriptorIsLeft(t *testing.T) {
	before := descriptors(t)
	for range 10 {
		in, out := newFIFO(t, "in"), newFIFO(t, "out")
		s := open(t, in, out, out)
		s.handedOver()
		s.finish()
		shut(s)
		shut(s)
	}
	var after int
	for range 1000 {
		if after = descriptors(t); after == before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d descriptors open, %d before", after, before)
}

// descriptors counts what this process has open of the test's own files.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	own := filepath.Dir(t.TempDir())
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(target, own) {
			n++
		}
	}
	return n
}
