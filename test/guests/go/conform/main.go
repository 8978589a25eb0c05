// Conform does with Go's standard library what programs do to files, directories
// and clocks, below the folder that it is told, and says what went otherwise.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var failures int

func check(what string, ok bool, details ...any) {
	if !ok {
		failures++
		fmt.Println(append([]any{what}, details...)...)
	}
}

func try(what string, err error) { check(what, err == nil, err) }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: conform DIR")
		os.Exit(2)
	}
	try("chdir", os.Chdir(os.Args[1]))
	files()
	names()
	directories()
	clocks()
	input, err := io.ReadAll(os.Stdin)
	check("stdin", err == nil && string(input) == "ready", string(input), err)
	fmt.Println("failures:", failures)
	if failures > 0 {
		os.Exit(1)
	}
}

func files() {
	f, err := os.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	try("create", err)
	defer f.Close()
	_, err = f.WriteString("0123456789")
	try("write", err)
	_, err = f.Seek(-3, io.SeekEnd)
	try("seek", err)
	rest, err := io.ReadAll(f)
	check("read", err == nil && string(rest) == "789", string(rest), err)
	_, err = f.WriteAt([]byte("XY"), 2)
	try("write at", err)
	var b [4]byte
	_, err = f.ReadAt(b[:], 1)
	check("read at", err == nil && string(b[:]) == "1XY4", string(b[:]), err)
	try("truncate", f.Truncate(5))
	try("sync", f.Sync())
	info, err := f.Stat()
	check("stat", err == nil && info.Size() == 5 && info.Mode().IsRegular(), info, err)
	_, err = os.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	check("create again", errors.Is(err, fs.ErrExist), err)
	_, err = os.Open("none")
	check("open nothing", errors.Is(err, fs.ErrNotExist), err)
	a, err := os.OpenFile("f", os.O_WRONLY|os.O_APPEND, 0)
	try("open to append", err)
	_, err = a.WriteString("!")
	try("append", err)
	try("close", a.Close())
	content, err := os.ReadFile("f")
	check("content", err == nil && string(content) == "01XY4!", string(content), err)
}

func names() {
	try("write file", os.WriteFile("a", []byte("of a"), 0o644))
	try("make directories", os.MkdirAll("dir/in", 0o755))
	try("rename", os.Rename("a", "dir/in/b"))
	try("symlink", os.Symlink("dir/in/b", "link"))
	target, err := os.Readlink("link")
	check("readlink", err == nil && target == "dir/in/b", target, err)
	info, err := os.Lstat("link")
	check("lstat", err == nil && info.Mode()&fs.ModeSymlink != 0, info, err)
	content, err := os.ReadFile("link")
	check("through the link", err == nil && string(content) == "of a", string(content), err)
	try("link", os.Link("dir/in/b", "hard"))
	x, _ := os.Stat("hard")
	y, err := os.Stat("link")
	check("same file", err == nil && os.SameFile(x, y), err)
	when := time.Unix(1234567890, 12345)
	try("times", os.Chtimes("hard", when, when))
	info, err = os.Stat("dir/in/b")
	check("times", err == nil && info.ModTime().Equal(when), info, err)
	check("remove what is not empty", os.Remove("dir") != nil)
	try("remove all", os.RemoveAll("dir"))
	try("remove", os.Remove("link"))
	root, err := os.OpenRoot(".")
	try("open root", err)
	defer root.Close()
	_, err = root.Open("../f")
	check("out of the root", err != nil)
	f, err := root.Open("f")
	try("in the root", err)
	f.Close()
}

func directories() {
	var want []string
	try("make directory", os.Mkdir("many", 0o755))
	for i := range 500 {
		name := fmt.Sprintf("%03d", i)
		want = append(want, name)
		try("write file", os.WriteFile("many/"+name, nil, 0o644))
	}
	entries, err := os.ReadDir("many")
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	check("read directory", err == nil && slices.Equal(got, want), len(got), err)
	f, err := os.Open("many")
	try("open directory", err)
	names, err := f.Readdirnames(10)
	check("read some names", err == nil && len(names) == 10, names, err)
	rest, err := f.Readdirnames(-1)
	check("read the rest", err == nil && len(rest) == 490, len(rest), err)
	f.Close()
	n := 0
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if strings.HasPrefix(path, "many/") {
			n++
		}
		return err
	})
	check("walk", err == nil && n == 500, n, err)
	try("remove all", os.RemoveAll("many"))
	_, err = os.ReadDir("many")
	check("removed", errors.Is(err, fs.ErrNotExist), err)
}

func clocks() {
	began := time.Now()
	timer := time.NewTimer(30 * time.Millisecond)
	time.Sleep(10 * time.Millisecond)
	<-timer.C
	took := time.Since(began)
	check("timers", took >= 30*time.Millisecond && took < 10*time.Second, took)
	check("time of day", time.Now().Year() >= 2024, time.Now())
}
