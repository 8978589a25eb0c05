// Package bundle keeps, in a container's bundle directory, what has to outlive
// the shim that serves the container: a shim that is killed leaves the
// container to `delete`, which runs in a process of its own and finds there
// what to clean up and how the container ended.
package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// stateFile is the state's name inside the bundle. containerd removes it with
// the bundle.
const stateFile = "wasm-state.json"

// State is what `delete` needs to know of one container.
//
// It is first written before the container's control group is made, with no Pid
// yet: a bundle without a state is therefore one that has no control group. It
// is written again when there is a process, and once more when that has ended.
type State struct {
	// ID is the container's id. Nothing is cleaned up for any other.
	ID string `json:"id"`
	// Pid is the init process, or 0 while there is none.
	Pid int `json:"pid,omitempty"`
	// CgroupPath is linux.cgroupsPath of the runtime spec, as it stands there.
	CgroupPath string `json:"cgroupPath,omitempty"`
	// SystemdCgroup is the runtime option of that name.
	SystemdCgroup bool `json:"systemdCgroup,omitempty"`
	// ExitStatus is how the init process ended; nil while it has not.
	ExitStatus *uint32 `json:"exitStatus,omitempty"`
	// ExitedAt is when it ended; zero while it has not.
	ExitedAt time.Time `json:"exitedAt,omitzero"`
}

// Write puts the state into the bundle at dir, in one step: a reader sees the
// former state or this one. Writers of one bundle must take turns. Where there
// is a former state, a full disk is no error: how a container ended is not to be
// lost for want of a page.
func Write(dir string, s State) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("container %s: state: %w", s.ID, err)
	}
	path := filepath.Join(dir, stateFile)
	err = WriteFile(path, data)
	if errors.Is(err, unix.ENOSPC) && overwrite(path, data) == nil {
		return nil
	}
	return err
}

// overwrite makes an existing file hold data and, up to its former size, spaces,
// which JSON has no use for. A state and its growth fit in the page or block
// that the file has already.
func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if more := info.Size() - int64(len(data)); more > 0 {
		data = append(data, bytes.Repeat([]byte(" "), int(more))...)
	}
	_, err = f.WriteAt(data, 0) // one system call, which no kill divides
	return err
}

// Read returns the state in the bundle at dir; the error is fs.ErrNotExist
// where none was written.
func Read(dir string) (State, error) {
	var s State
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return State{}, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Remove takes the state out of the bundle at dir, once nothing of the container
// is left. A bundle without one is no error.
func Remove(dir string) error {
	if err := os.Remove(filepath.Join(dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// WriteFile makes path hold data, for its owner alone, in one step. It is not
// synced: bundles live on a tmpfs and mean nothing after the machine has
// stopped.
func WriteFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
