package task

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	eventsAPI "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// withTool makes a container's rootfs have /tool.wasm.
func withTool(t *testing.T, request *taskAPI.CreateTaskRequest, module []byte) *taskAPI.CreateTaskRequest {
	t.Helper()
	if err := os.WriteFile(filepath.Join(request.Bundle, "rootfs", "tool.wasm"), module, 0o644); err != nil {
		t.Fatal(err)
	}
	return request
}

// exec adds a process and starts it, and returns its pid.
func (r *real) exec(request *taskAPI.ExecProcessRequest) int {
	r.t.Helper()
	if _, err := r.Exec(r.t.Context(), request); err != nil {
		r.t.Fatal(err)
	}
	started, err := r.Start(r.t.Context(), &taskAPI.StartRequest{ID: request.ID, ExecID: request.ExecID})
	if err != nil {
		r.t.Fatal(err)
	}
	return int(started.Pid)
}

func (r *real) waitExec(id, execID string) uint32 {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	exit, err := r.Wait(ctx, &taskAPI.WaitRequest{ID: id, ExecID: execID})
	if err != nil {
		r.t.Fatal(err)
	}
	return exit.ExitStatus
}

func TestRealFurtherProcess(t *testing.T) {
	r := newReal(t)
	first := r.create(withTool(t, r.request("c", spins), copies))
	r.start("c")
	request := execRequest(t, "c", "e")
	request.Stdin, request.Stdout = newFIFO(t, "in"), newFIFO(t, "out")
	output := reader(t, request.Stdout)
	pid := r.exec(request)
	for _, namespace := range []string{"net", "pid", "mnt", "ipc", "uts"} {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, namespace))
		if its, firstErr := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", first, namespace)); err != nil || firstErr != nil || its != theirs {
			t.Errorf("namespace %s: %q, %v; the container's is %q, %v", namespace, theirs, err, its, firstErr)
		}
	}
	groups := func(pid int) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if got, want := groups(pid), groups(first); got != want {
		t.Errorf("cgroups\n%s, the container's are\n%s", got, want)
	}
	if pids, err := r.Pids(t.Context(), &taskAPI.PidsRequest{ID: "c"}); err != nil || len(pids.Processes) != 2 {
		t.Errorf("Pids answers %v, %v", pids, err)
	}
	client, err := openFIFO(request.Stdin, unix.O_WRONLY, false)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(client, "through and through")
	client.Close()
	silent(t, output, "the shim holds a write end")
	if _, err := r.CloseIO(t.Context(), &taskAPI.CloseIORequest{ID: "c", ExecID: "e", Stdin: true}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, output); got != "through and through" {
		t.Errorf("read %q", got)
	}
	if status := r.waitExec("c", "e"); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	state, err := r.State(t.Context(), &taskAPI.StateRequest{ID: "c"})
	if err != nil || state.Status.String() != "RUNNING" {
		t.Errorf("the container: %v, %v", state, err)
	}
	if _, err := r.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c", ExecID: "e"}); err != nil {
		t.Fatal(err)
	}
}

func TestRealFurtherProcessesEndWithTheContainer(t *testing.T) {
	for _, hostPids := range []bool{false, true} {
		t.Run(fmt.Sprintf("pid namespace of the host %v", hostPids), func(t *testing.T) {
			r := newReal(t)
			r.create(withTool(t, r.request("c", spins, func(s *specs.Spec) {
				if hostPids {
					s.Linux.Namespaces = append(s.Linux.Namespaces[:1:1], s.Linux.Namespaces[2:]...)
				}
			}), spins))
			r.start("c")
			r.exec(execRequest(t, "c", "e"))
			r.kill("c", syscall.SIGTERM)
			if status := r.wait("c"); status != 143 {
				t.Errorf("exit status %d, want 143", status)
			}
			if status := r.waitExec("c", "e"); status != 137 {
				t.Errorf("exit status of the further process %d, want 137", status)
			}
			r.remove("c")
			if err := r.events.close(t.Context()); err != nil {
				t.Fatal(err)
			}
			var exits []string
			for _, e := range r.publisher.sent {
				if exit, ok := e.(*eventsAPI.TaskExit); ok {
					exits = append(exits, exit.ID)
				}
			}
			if len(exits) != 2 || exits[0] != "e" {
				t.Errorf("exits were told of in the order %v", exits)
			}
		})
	}
}

func TestRealSignalToAFurtherProcess(t *testing.T) {
	r := newReal(t)
	r.create(withTool(t, r.request("c", spins), spins))
	r.start("c")
	r.exec(execRequest(t, "c", "e"))
	if _, err := r.Pause(t.Context(), &taskAPI.PauseRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resume(t.Context(), &taskAPI.ResumeRequest{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Kill(t.Context(), &taskAPI.KillRequest{ID: "c", ExecID: "e", Signal: uint32(syscall.SIGTERM)}); err != nil {
		t.Fatal(err)
	}
	if status := r.waitExec("c", "e"); status != 143 {
		t.Errorf("exit status %d, want 143", status)
	}
	r.hasPids("c", 1)
	r.exec(execRequest(t, "c", "e2"))
	if _, err := r.Kill(t.Context(), &taskAPI.KillRequest{ID: "c", Signal: uint32(syscall.SIGTERM), All: true}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]uint32{"": 143, "e2": 143} {
		if status := r.waitExec("c", id); status != want && !(id == "e2" && status == 137) { // whichever ends first
			t.Errorf("exit status of %q %d, want %d", id, status, want)
		}
	}
}

func (r *real) hasPids(id string, want int) {
	r.t.Helper()
	pids, err := r.Pids(r.t.Context(), &taskAPI.PidsRequest{ID: id})
	if err != nil || len(pids.Processes) != want {
		r.t.Errorf("Pids answers %v, %v; want %d processes", pids, err, want)
	}
}

func TestRealFurtherProcessThatCannotBe(t *testing.T) {
	r := newReal(t)
	r.create(withTool(t, r.request("c", spins), []byte("#!/bin/sh\n")))
	r.start("c")
	for _, args := range [][]string{{"sh", "-c", "true"}, {"/tool.wasm"}} {
		request := execRequest(t, "c", "e", args...)
		if _, err := r.Exec(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		_, err := r.Start(t.Context(), &taskAPI.StartRequest{ID: "c", ExecID: "e"})
		if err == nil || !strings.Contains(err.Error(), args[0]) || !strings.Contains(err.Error(), "exec runs a WebAssembly module") {
			t.Errorf("Start answers %v", err)
		}
		if _, err := r.Delete(t.Context(), &taskAPI.DeleteRequest{ID: "c", ExecID: "e"}); err != nil {
			t.Fatal(err)
		}
	}
	r.hasPids("c", 1)
}

// withTerminal makes a container's first process have a terminal.
func withTerminal(s *specs.Spec) {
	s.Process.Terminal = true
	s.Process.ConsoleSize = &specs.Box{Width: 132, Height: 43}
	s.Process.User.UID = 1234
}

func windowOf(t *testing.T, pid int) (unix.Winsize, uint32) {
	t.Helper()
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/0", pid), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	return *size, stat.Uid
}

func TestRealTerminal(t *testing.T) {
	r := newReal(t)
	request := r.request("c", copies, withTerminal)
	request.Terminal, request.Stdin, request.Stdout, request.Stderr = true, newFIFO(t, "in"), newFIFO(t, "out"), "/nothing/here"
	output, err := openFIFO(request.Stdout, unix.O_RDONLY, true)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	pid := r.create(request)
	size, owner := windowOf(t, pid)
	if size.Col != 132 || size.Row != 43 || owner != 1234 {
		t.Errorf("the terminal is %+v and user %d's", size, owner)
	}
	r.start("c")
	if _, err := r.ResizePty(t.Context(), &taskAPI.ResizePtyRequest{ID: "c", Width: 80, Height: 24}); err != nil {
		t.Fatal(err)
	}
	if size, _ := windowOf(t, pid); size.Col != 80 || size.Row != 24 {
		t.Errorf("the terminal is %+v after its change", size)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(stat), ") ")
	if tty := strings.Fields(fields)[4]; tty == "0" {
		t.Error("the process has no controlling terminal")
	}
	input, err := openFIFO(request.Stdin, unix.O_WRONLY, false)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	fmt.Fprint(input, "typed\n")
	// The terminal's echo, then the guest's copy, with the terminal's line ends.
	expect(t, output, "typed\r\ntyped\r\n")

	// The end of the input is the terminal's end of file.
	input.Close()
	if _, err := r.CloseIO(t.Context(), &taskAPI.CloseIORequest{ID: "c", Stdin: true}); err != nil {
		t.Fatal(err)
	}
	if status := r.wait("c"); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	expect(t, output, "")
	if n, err := output.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("after the end: %d, %v", n, err)
	}
	if _, err := r.ResizePty(t.Context(), &taskAPI.ResizePtyRequest{ID: "c", Width: 1, Height: 1}); err == nil {
		t.Error("the terminal of an ended process was resized")
	}
}

// The process's user owns its terminal, which is its /dev/console too, also where
// a user namespace gives that user another number.
func TestRealTerminalInAUserNamespace(t *testing.T) {
	r := newReal(t)
	request := r.request("c", copies, withTerminal, func(s *specs.Spec) {
		mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.Linux.UIDMappings, s.Linux.GIDMappings = mapping, mapping
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	})
	rootfs := filepath.Join(request.Bundle, "rootfs")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	openToAll(t, rootfs)
	openToAll(t, filepath.Dir(self)) // which has the sandbox program
	if err := os.Chown(rootfs, 100000, 100000); err != nil {
		t.Fatal(err)
	}
	request.Terminal = true
	pid := r.create(request)
	if _, owner := windowOf(t, pid); owner != 101234 {
		t.Errorf("the terminal is user %d's, not 101234's", owner)
	}
	var console, terminal unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/root/dev/console", pid), &console); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/0", pid), &terminal); err != nil {
		t.Fatal(err)
	}
	if console.Rdev != terminal.Rdev || console.Ino != terminal.Ino {
		t.Errorf("/dev/console is device %#x, the terminal %#x", console.Rdev, terminal.Rdev)
	}
	r.start("c")
}

// openToAll lets the root of a user namespace reach a folder of temporary files.
func openToAll(t *testing.T, dir string) {
	t.Helper()
	for ; dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// expect reads exactly that.
func expect(t *testing.T, from *os.File, want string) {
	t.Helper()
	from.SetReadDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // a FIFO that is polled has one
	var got []byte
	buffer := make([]byte, 4096)
	for len(got) < len(want) {
		n, err := from.Read(buffer)
		if err != nil {
			t.Fatalf("read %q, then %v; want %q", got, err, want)
		}
		got = append(got, buffer[:n]...)
	}
	if string(got) != want {
		t.Fatalf("read %q, want %q", got, want)
	}
}

func TestRealInterruptFromTheTerminal(t *testing.T) {
	r := newReal(t)
	r.create(withTool(t, r.request("c", spins), spins))
	r.start("c")
	request := execRequest(t, "c", "e")
	request.Terminal, request.Stdin, request.Stdout = true, newFIFO(t, "in"), newFIFO(t, "out")
	output := reader(t, request.Stdout)
	if _, err := r.Exec(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ResizePty(t.Context(), &taskAPI.ResizePtyRequest{ID: "c", ExecID: "e", Width: 99, Height: 11}); err != nil {
		t.Fatal(err)
	}
	started, err := r.Start(t.Context(), &taskAPI.StartRequest{ID: "c", ExecID: "e"})
	if err != nil {
		t.Fatal(err)
	}
	if size, _ := windowOf(t, int(started.Pid)); size.Col != 99 || size.Row != 11 {
		t.Errorf("the terminal is %+v; its size was given before the start", size)
	}
	input, err := openFIFO(request.Stdin, unix.O_WRONLY, false)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	fmt.Fprint(input, "\x03")
	if status := r.waitExec("c", "e"); status != 130 {
		t.Errorf("exit status %d, want 130", status)
	}
	if got := receive(t, output); got != "^C" {
		t.Errorf("the terminal showed %q", got)
	}
}

// A reader who has stalled stops his own guest and nobody else's, and the
// container can be killed and deleted.
func TestRealStalledReaderOfATerminal(t *testing.T) {
	r := newReal(t)
	request := r.request("c", copies, withTerminal)
	request.Terminal, request.Stdin, request.Stdout = true, newFIFO(t, "in"), newFIFO(t, "out")
	stalled, err := openFIFO(request.Stdout, unix.O_RDONLY, false)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	r.create(request)
	r.start("c")
	input, err := openFIFO(request.Stdin, unix.O_WRONLY, true)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	input.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)) //nolint:errcheck // a FIFO that is polled has one
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	for range 1024 {
		if _, err = input.Write(line); err != nil {
			break
		}
	}
	if err == nil {
		t.Fatal("the guest was never stopped")
	}
	other := r.request("other", hello)
	other.Stdout = newFIFO(t, "other")
	output := reader(t, other.Stdout)
	r.create(other)
	r.start("other")
	if got := receive(t, output); got != "hello\n" {
		t.Errorf("the other guest wrote %q", got)
	}
	r.kill("c", syscall.SIGKILL)
	if status := r.wait("c"); status != 137 {
		t.Errorf("exit status %d, want 137", status)
	}
	go func() { // he goes on in the end
		for range 64 {
			stalled.Read(make([]byte, 64<<10)) //nolint:errcheck // that it is read matters
		}
	}()
	r.remove("c")
}
