// Package wire is what the two ends of a sandbox say to one another: the
// parent that starts a sandbox process, and that process. It imports nothing
// but the standard library, the OCI runtime spec's types and the kernel's,
// because both ends pay for it.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ControlFD is the descriptor of the sandbox process that holds its end of the
// control socket.
const ControlFD = 3

// maxMessage bounds one message, in bytes, so that a confused peer cannot make
// the other end allocate without limit.
const maxMessage = 16 << 20

// Module says which module a sandbox runs, as seen from inside the container.
type Module struct {
	// Paths are the places where the module may be, absolute; the first that exists is the one.
	Paths []string `json:"paths"`
	// Function is the exported function that is called; empty means _start.
	Function string `json:"function,omitempty"`
	// Args are the guest's arguments, the program's name first.
	Args []string `json:"args"`
}

// Setup is the parent's first message: everything the process needs to become the container.
type Setup struct {
	// ID is the container's id, for error messages.
	ID string `json:"id"`
	// Spec is the container's runtime spec, already validated.
	Spec *specs.Spec `json:"spec"`
	// Rootfs is the absolute path of the root file system, as the parent sees it.
	Rootfs string `json:"rootfs"`
	// Inside says that the process has joined a container and is in its root
	// file system already.
	Inside bool   `json:"inside,omitempty"`
	Module Module `json:"module"`
	// Filter is linux.seccomp of the spec as the kernel takes it, with its
	// SECCOMP_FILTER_FLAG_*; empty where the spec has none.
	Filter      []unix.SockFilter `json:"filter,omitempty"`
	FilterFlags uint              `json:"filterFlags,omitempty"`
}

// Report is the process's only message: an empty Error says that the container
// is ready and waits for its start.
type Report struct {
	Error string `json:"error,omitempty"`
}

// Send writes one message.
func Send(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(body) > maxMessage {
		return fmt.Errorf("message of %d bytes is longer than the %d bytes allowed", len(body), maxMessage)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(frame, body...))
	return err
}

// Receive reads one message into message. io.EOF says that the peer ended
// before it sent anything.
func Receive(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxMessage {
		return fmt.Errorf("message of %d bytes is longer than the %d bytes allowed", size, maxMessage)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, message)
}
