// Package bundle keeps, in a container's bundle directory, what has to outlive
// the shim that serves the container: a shim that is killed leaves the
// container to `delete`, which runs in a process of its own and finds there
// what to clean up and how the container ended.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
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
// former state or this one. Writers of one bundle must take turns.
func Write(dir string, s State) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("container %s: state: %w", s.ID, err)
	}
	return WriteFile(filepath.Join(dir, stateFile), data)
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
