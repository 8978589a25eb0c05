package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	control "github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// snapshot is what some files of a group held, in the order in which they were
// taken.
type snapshot []savedFile

type savedFile struct{ dir, name, content string }

// save reads the files that list may change. A file that is not there or cannot
// be read (memory.reclaim is a trigger, not a value) has nothing to restore.
func (g *Group) save(list []setting) (snapshot, error) {
	var s snapshot
	seen := make(map[savedFile]bool)
	for _, set := range list {
		for _, name := range set.files {
			file := savedFile{dir: g.dir(set.controller), name: name}
			if seen[file] {
				continue
			}
			seen[file] = true
			content, err := control.ReadFile(file.dir, name)
			switch {
			case err == nil:
				file.content = content
				s = append(s, file)
			case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EINVAL):
			default:
				return nil, err
			}
		}
	}
	return s, nil
}

// restore writes back what changed since save. Some values bound each other
// (quota and period, memory and swap), so one that is refused is tried again
// after the rest.
func (s snapshot) restore() error {
	var err error
	for range 3 {
		err = nil
		for _, file := range s {
			err = errors.Join(err, file.restore())
		}
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("former limits could not be restored: %w", err)
}

func (f savedFile) restore() error {
	now, err := control.ReadFile(f.dir, f.name)
	if err != nil || now == f.content {
		return err
	}
	for _, line := range f.lines(now) {
		if err := control.WriteFile(f.dir, f.name, line); err != nil {
			return err
		}
	}
	return nil
}

// lines returns the writes that turn now into the saved content. Files with a
// line per device keep the devices that a write does not name, so devices that
// were not there are taken out.
func (f savedFile) lines(now string) []string {
	if f.name == "memory.oom_control" {
		content, _, _ := strings.Cut(f.content, "\n")
		return []string{strings.TrimPrefix(content, "oom_kill_disable ")}
	}
	var lines []string
	unset, perDevice := deviceReset[f.name]
	if strings.HasPrefix(f.name, "blkio.throttle.") {
		unset, perDevice = "0", true
	}
	if perDevice {
		for line := range strings.Lines(now) {
			device, _, _ := strings.Cut(line, " ")
			if device != "default" && !strings.Contains("\n"+f.content, "\n"+device+" ") {
				lines = append(lines, device+" "+unset)
			}
		}
	}
	for line := range strings.Lines(f.content) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	if len(lines) == 0 {
		lines = []string{"\n"} // an empty cpuset; a write of nothing would do nothing
	}
	return lines
}

// deviceReset says, for files with a line per device, what unsets a device.
var deviceReset = map[string]string{
	"io.max":                   "rbps=max wbps=max riops=max wiops=max",
	"io.weight":                "default",
	"io.bfq.weight":            "default",
	"blkio.weight_device":      "0",
	"blkio.leaf_weight_device": "0",
	"blkio.bfq.weight_device":  "0",
	"rdma.max":                 "hca_handle=max hca_object=max",
}
