package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStateComesBackAsWritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Read of an empty bundle: %v, want fs.ErrNotExist", err)
	}
	status := uint32(0)
	for _, want := range []State{
		{ID: "c1", CgroupPath: "/default/c1"},
		{ID: "c1", CgroupPath: "system.slice:docker:c1", SystemdCgroup: true, Pid: 42},
		{ID: "c1", Pid: 42, ExitStatus: &status, ExitedAt: time.Now().UTC().Round(0)},
	} {
		if err := Write(dir, want); err != nil {
			t.Fatal(err)
		}
		got, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the bundle holds %v, want the state alone", entries)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, State{ID: "c1"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Remove(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Remove: %v", err)
		}
	}
}

func TestWriteFailureLeavesTheFormerState(t *testing.T) {
	dir := t.TempDir()
	// A directory cannot be replaced by a file, which root's rights do not change.
	path := filepath.Join(dir, stateFile)
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, State{ID: "c1"}); err == nil {
		t.Fatal("Write over a directory succeeded")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the failed write left %v", entries)
	}
}

func TestFormerStateIsReplacedOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "64k")
	if err := Write(dir, State{ID: "c1", Pid: 42, CgroupPath: "/long/" + strings.Repeat("x", 100)}); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 64<<10), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	status := uint32(7)
	for _, want := range []State{
		{ID: "c1", Pid: 42, ExitStatus: &status}, // shorter
		{ID: "c1", Pid: 42, ExitStatus: &status, CgroupPath: "/longer/" + strings.Repeat("x", 1000)},
	} {
		if err := Write(dir, want); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(dir); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if err := WriteFile(filepath.Join(dir, "new"), []byte("x")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a new file: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("the bundle holds %v", entries)
	}
}

// smallDisk is a file system of its own that is mounted nowhere.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	disk, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatalf("make a tmpfs (the tests need root): %v", err)
	}
	defer unix.Close(disk)
	if err := unix.FsconfigSetString(disk, "size", size); err != nil {
		t.Fatal(err)
	}
	if err := unix.FsconfigCreate(disk); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Fsmount(disk, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

func TestDamagedStateNamesItsFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Read(dir)
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v does not name %s", err, path)
	}
}
