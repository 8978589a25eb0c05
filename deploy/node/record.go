package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const (
	// stateDir is the installer's own folder on the node.
	stateDir   = "/var/lib/wasm-node-installer"
	recordFile = stateDir + "/record.json"
	// keptSuffix is the end of the name under which a program is kept that was
	// there before.
	keptSuffix = ".before-wasm-node-installer"
	// editedSuffix is the end of the name under which a file of ours is kept that
	// somebody has changed, once it is no longer in use.
	editedSuffix = ".edited"
)

// kind is what a change consists of.
type kind string

const (
	file   kind = "file"   // it was not there, or is kept under another name
	block  kind = "block"  // lines of a file that is somebody else's
	folder kind = "folder" // it was not there; goes when nothing is left in it
	cache  kind = "cache"  // it was not there; goes with all that is in it
)

// change is something on the node that is to be undone.
type change struct {
	Path string `json:"path"` // the node's own
	Kind kind   `json:"kind"`
	// Sum is the SHA-256 of what we wrote: of the file, or of the block.
	Sum string `json:"sha256,omitempty"`
	// Config says that it is part of containerd's configuration.
	Config bool `json:"config,omitempty"`
}

// record is what has been changed on a node, in this order. It is on the disk
// before a change is made, so that an installer which is killed can be followed
// by one that undoes.
type record struct {
	host    host
	Changes []change `json:"changes"`
}

func readRecord(h host) (*record, error) {
	r := &record{host: h}
	data, err := h.read(recordFile)
	if err != nil || data == nil {
		return r, err
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s on the node, which says what was installed, is damaged: %w; remove by hand what was installed, then this file", recordFile, err)
	}
	return r, nil
}

// add notes a change, or that a noted one is of something else now.
func (r *record) add(c change) error {
	if i := r.index(c.Path); i >= 0 {
		if r.Changes[i] == c {
			return nil
		}
		r.Changes[i] = c
	} else {
		r.Changes = append(r.Changes, c)
	}
	return r.save()
}

func (r *record) save() error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	path, err := r.host.path(stateDir)
	if err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; is %s the node's root file system?", err, r.host)
	}
	return r.host.write(recordFile, bytes.NewReader(append(data, '\n')), 0o600)
}

func (r *record) index(path string) int {
	return slices.IndexFunc(r.Changes, func(c change) bool { return c.Path == path })
}

// find returns what is noted of a path.
func (r *record) find(path string) (change, bool) {
	if i := r.index(path); i >= 0 {
		return r.Changes[i], true
	}
	return change{}, false
}

// put makes or replaces a file of ours, and the folders above it that are not
// there. A file of the same name that was there before is kept. It says whether
// anything had to be done.
func (r *record) put(path string, data []byte, mode fs.FileMode, config bool) (changed bool, err error) {
	was, err := r.host.read(path)
	if err != nil {
		return false, err
	}
	noted, ours := r.find(path)
	switch {
	case ours && was != nil && config && sum(was) != noted.Sum:
		return false, nil // an administrator's word goes before ours
	case was != nil && bytes.Equal(was, data) && ours:
		return false, nil
	case was != nil && !ours && config:
		return false, fmt.Errorf("%s is on the node already and is not the installer's; rename it, or remove it if it was made by hand for this runtime", path)
	}
	if err := r.makeFolder(filepath.Dir(path)); err != nil {
		return false, err
	}
	if was != nil && !ours {
		if err := r.keep(path); err != nil {
			return false, err
		}
	}
	if err := r.add(change{Path: path, Kind: file, Sum: sum(data), Config: config}); err != nil {
		return false, err
	}
	return true, r.host.write(path, bytes.NewReader(data), mode)
}

// keep gives a file a second name, from which undo takes it back.
func (r *record) keep(path string) error {
	from, err := r.host.path(path)
	if err != nil {
		return err
	}
	err = os.Link(from, from+keptSuffix)
	if errors.Is(err, fs.ErrExist) {
		return nil // by an installer that came no further
	}
	return err
}

// makeFolder makes a folder and those above it, and notes each.
func (r *record) makeFolder(path string) error {
	if r.host.exists(path) {
		return nil
	}
	if err := r.makeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	if err := r.add(change{Path: path, Kind: folder}); err != nil {
		return err
	}
	real, err := r.host.path(path)
	if err != nil {
		return err
	}
	return os.Mkdir(real, 0o755)
}

// insert puts a block into a file of somebody else's, in place of one that is
// there already. It says whether anything had to be done.
func (r *record) insert(path, body string) (changed bool, err error) {
	was, err := r.host.read(path)
	if err != nil {
		return false, err
	}
	noted, ours := r.find(path)
	if old, ok := findBlock(was); ok && ours && (old.body == body || sum([]byte(old.body)) != noted.Sum) {
		return false, nil // it is there, or an administrator has changed it
	}
	if err := r.makeFolder(filepath.Dir(path)); err != nil {
		return false, err
	}
	if err := r.add(change{Path: path, Kind: block, Sum: sum([]byte(body)), Config: true}); err != nil {
		return false, err
	}
	return true, r.host.write(path, bytes.NewReader(withBlock(was, body)), 0o644)
}

// undo takes back the noted changes that are wanted, the last one first, and
// forgets them.
func (r *record) undo(wanted func(change) bool) error {
	for i := len(r.Changes) - 1; i >= 0; i-- {
		c := r.Changes[i]
		if !wanted(c) {
			continue
		}
		if err := r.revert(c); err != nil {
			return fmt.Errorf("undo %s on the node: %w", c.Path, err)
		}
		r.Changes = slices.Delete(r.Changes, i, i+1)
		if err := r.save(); err != nil {
			return err
		}
	}
	if len(r.Changes) > 0 {
		return nil
	}
	path, err := r.host.path(stateDir)
	if err != nil {
		return err
	}
	return os.RemoveAll(path)
}

func (r *record) revert(c change) error {
	path, err := r.host.path(c.Path)
	if err != nil {
		return err
	}
	switch c.Kind {
	case cache:
		return os.RemoveAll(path)
	case folder:
		err := os.Remove(path)
		if entries, readErr := os.ReadDir(path); readErr == nil && len(entries) > 0 {
			return nil // with what is not ours
		}
		return gone(err)
	case block:
		return r.revertBlock(c)
	}
	was, err := r.host.read(c.Path)
	if err != nil {
		return err
	}
	if c.Config && was != nil && sum(was) != c.Sum {
		return os.Rename(path, path+editedSuffix)
	}
	if err := os.Rename(path+keptSuffix, path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return gone(os.Remove(path))
}

func (r *record) revertBlock(c change) error {
	was, err := r.host.read(c.Path)
	if err != nil || was == nil {
		return err
	}
	rest := withoutBlock(was)
	if rest == nil {
		path, err := r.host.path(c.Path)
		if err != nil {
			return err
		}
		return os.Remove(path)
	}
	if bytes.Equal(rest, was) {
		return nil
	}
	return r.host.write(c.Path, bytes.NewReader(rest), 0o644)
}

// gone passes over an error that says that there is nothing.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
