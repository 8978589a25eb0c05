// Goescape tries to get at a file of the host as Go programs do, and prints
// what came of each attempt. The container has a volume at /vol, one at /ro that
// is read-only, and a working directory of /vol/dir.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	treasure := os.Args[1] // on the host, absolute
	up := strings.Repeat("../", 24) + treasure[1:]

	read := func(path string) error { _, err := os.ReadFile(path); return err }
	write := func(path string) error { return os.WriteFile(path, []byte("x"), 0o644) }
	try := func(name string, err error) {
		var errno syscall.Errno
		switch {
		case err == nil:
			fmt.Printf("%s: ok\n", name)
		case errors.As(err, &errno):
			fmt.Printf("%s: %s\n", name, errno)
		default:
			fmt.Printf("%s: %v\n", name, err)
		}
	}
	try("working directory", read("../file"))
	try("absolute", read(treasure))
	try("up", read(up))
	try("up from a volume", read("/vol/"+up))
	try("write absolute", write(treasure))
	try("remove absolute", os.Remove(treasure))
	try("remove up", os.Remove(up))
	try("remove all up", os.RemoveAll(filepath.Dir(up)))
	try("symlink", os.Symlink(up, "/vol/golink"))
	try("through a symlink", read("/vol/golink"))
	try("write through a symlink", write("/vol/golink"))
	try("touch through a symlink", os.Chtimes("/vol/golink", time.Unix(1, 0), time.Unix(1, 0)))
	try("truncate through a symlink", os.Truncate("/vol/golink", 0))
	try("rename to up", os.Rename("/vol/file", up))
	try("rename from up", os.Rename(up, "/vol/stolen"))
	try("link from up", os.Link(up, "/vol/stolen"))
	try("mkdir up", os.Mkdir(up+".dir", 0o755))
	try("change to up", os.Chdir(filepath.Dir(up)))
	try("change to root and up", errors.Join(os.Chdir("/"), read(up)))
	try("host's symlink", read("/vol/host-link"))
	try("host's symlink to a directory", read("/vol/host-dir/treasure"))
	try("write through host's symlink", write("/vol/host-dir/made"))
	_, err := os.ReadDir("/vol/host-dir")
	try("list host's symlink to a directory", err)
	try("ro: read", read("/ro/file"))
	try("ro: write", write("/ro/file"))
	try("ro: create", write("/ro/new"))
	try("ro: remove", os.Remove("/ro/file"))
	try("ro: touch", os.Chtimes("/ro/file", time.Unix(1, 0), time.Unix(1, 0)))
	try("remove the symlink", os.Remove("/vol/golink"))
}
