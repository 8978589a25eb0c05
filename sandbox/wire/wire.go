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
	"net/netip"

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
	// Paths are the places where the module may be, absolute; the first that
	// exists is the one. Empty where the module is not in the root file system.
	Paths []string `json:"paths,omitempty"`
	// Name is what messages call a module that is not in the root file system.
	Name string `json:"name,omitempty"`
	// Function is the exported function that is called; empty means _start.
	Function string `json:"function,omitempty"`
	// Args are the guest's arguments, the program's name first.
	Args []string `json:"args"`
	// Listen are the TCP addresses at which it listens, in the container's network
	// namespace.
	Listen []netip.AddrPort `json:"listen,omitempty"`
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
	// MemoryLimit is the container's, in bytes; 0 where it has none.
	MemoryLimit int64 `json:"memoryLimit,omitempty"`
	// Filter is linux.seccomp of the spec as the kernel takes it, with its
	// SECCOMP_FILTER_FLAG_*; empty where the spec has none.
	Filter      []unix.SockFilter `json:"filter,omitempty"`
	FilterFlags uint              `json:"filterFlags,omitempty"`
}

// Mount comes after the Setup for each mount of the spec that the parent makes, in
// their order, with the mount as a file.
type Mount struct {
	// Index is the mount's among the spec's.
	Index int `json:"index"`
}

// Report is what the process has to say: first, once it is in the root file
// system, where its module is, with the module's file; and last that it is ready
// and waits for its start. An Error, in either place, ends it.
type Report struct {
	Error string `json:"error,omitempty"`
	// Path is where the module was found.
	Path string `json:"path,omitempty"`
	// Settings are those of the process's engine.
	Settings string `json:"settings,omitempty"`
}

// Code is the parent's answer to where the module is: its artifact, as a file.
type Code struct {
	// Hash asks for the module's Digest in place of bringing a file, which a
	// further Code then does.
	Hash bool `json:"hash,omitempty"`
	// Offset is where in its file the artifact begins.
	Offset int64 `json:"offset,omitempty"`
}

// Digest is the module's, as image manifests write it.
type Digest struct {
	Digest string `json:"digest"`
}

// Compile is what a process that compiles is told: the module is in its
// descriptor ModuleFD, and the artifact is to be written to ArtifactFD.
type Compile struct {
	// Settings asks for those of the process's engine, and nothing else.
	Settings bool `json:"settings,omitempty"`
	// Name is the module's, for error messages.
	Name string `json:"name"`
	// Offset is where in its file the artifact is to begin.
	Offset int64 `json:"offset"`
	// MemoryLimit is that of the process's cgroup, in bytes; 0 where it has none.
	MemoryLimit int64 `json:"memoryLimit,omitempty"`
}

// Compiler is what the parent calls a process that compiles, by its first
// argument.
const Compiler = "wasm-compiler"

// Holder is what the parent calls a process that only holds the namespaces of a
// pod. It gets a Setup and answers with one Report.
const Holder = "wasm-pod"

// Descriptors of a process that compiles, beside ControlFD.
const (
	ModuleFD   = 4
	ArtifactFD = 5
)

// Compiled is what became of it.
type Compiled struct {
	// Error says what is wrong, with the module or, where NoRoom is set, with the
	// artifact's file.
	Error  string `json:"error,omitempty"`
	NoRoom bool   `json:"noRoom,omitempty"`
	// Digest is that of the bytes that were compiled.
	Digest string `json:"digest,omitempty"`
	// Size of the artifact in bytes, and the SHA-256 digest of these.
	Size int64  `json:"size,omitempty"`
	Sum  []byte `json:"sum,omitempty"`
	// Settings are those of the process's engine, where they were asked for.
	Settings string `json:"settings,omitempty"`
}

// Send writes one message.
func Send(w io.Writer, message any) error {
	frame, err := encode(message)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

func encode(message any) ([]byte, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	if len(body) > maxMessage {
		return nil, fmt.Errorf("message of %d bytes is longer than the %d bytes allowed", len(body), maxMessage)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return append(frame, body...), nil
}

// Receive reads one message into message. io.EOF says that the peer ended
// before it sent anything.
func Receive(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	return receiveBody(r, head, message)
}

func receiveBody(r io.Reader, head [4]byte, message any) error {
	size := binary.BigEndian.Uint32(head[:])
	if size > maxMessage {
		return fmt.Errorf("message of %d bytes is longer than the %d bytes allowed", size, maxMessage)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // for it ended within a message
		}
		return err
	}
	return json.Unmarshal(body, message)
}
