package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/oci"
)

func TestHello(t *testing.T) {
	for _, language := range []string{"go", "c", "rust", "as"} {
		t.Run(language, func(t *testing.T) {
			leavesNothing(t)
			r := ctrRun(t, "hello-"+language, nil)
			r.wantCode(t, 0)
			if language == "as" {
				language = "assemblyscript"
			}
			if got := strings.ToLower(r.stdout); got != "hello from "+language+"\n" {
				t.Fatalf("not the guest's line: %s", r)
			}
			if r.stderr != "" {
				t.Fatalf("stderr shall be empty: %s", r)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	leavesNothing(t)
	r := ctrRun(t, "args", nil, "one", "", "two words", "ünï→", "-v", "a=b\nc")
	r.wantCode(t, 0)
	r.wantStdout(t, "/args.wasm\none\n\ntwo words\nünï→\n-v\na=b\nc\n")
}

func TestEnvironment(t *testing.T) {
	leavesNothing(t)
	t.Setenv("OF_THE_HOST", "must not be seen")
	r := ctrRun(t, "env", []string{"--env", "GREETING=hello there", "--env", "EMPTY="})
	r.wantCode(t, 0)
	for _, want := range []string{"GREETING=hello there\n", "EMPTY=\n", "PATH="} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is not in the environment: %s", want, r)
		}
	}
	// The runtime's own settings and those of the machine are nobody's business.
	for _, secret := range []string{"OF_THE_HOST", "GODEBUG", "GOMAXPROCS", "GOGC", "TTRPC_ADDRESS", "E2E_"} {
		if strings.Contains(r.stdout, secret) {
			t.Errorf("%s leaked into the environment: %s", secret, r)
		}
	}
}

func TestWorkingDirectory(t *testing.T) {
	for _, guest := range cOrGo("cwd", "gofiles") {
		t.Run(guest, func(t *testing.T) {
			leavesNothing(t)
			dir := t.TempDir()
			write(t, filepath.Join(dir, "here"), "found by a relative path\n")
			flags := []string{"--cwd", "/work", "--mount", "type=bind,src=" + dir + ",dst=/work,options=rbind:rw"}
			if guest == "cwd" {
				r := ctrRun(t, guest, flags)
				r.wantCode(t, 0)
				r.wantStdout(t, "/work\nfound by a relative path\n")
				return
			}
			r := ctrRun(t, guest, flags, "cwd")
			r.wantCode(t, 0)
			r.wantStdout(t, "/work\n")
			r = ctrRun(t, guest, flags, "read", "here")
			r.wantCode(t, 0)
			r.wantStdout(t, "found by a relative path\n")
		})
	}
}

func TestExitCodes(t *testing.T) {
	for _, code := range []int{0, 3, 255} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			leavesNothing(t)
			ctrRun(t, "exit", nil, strconv.Itoa(code)).wantCode(t, code)
		})
	}
}

// TestStdio sends 100 MB through the guest: pipes, FIFOs and two copies in all.
func TestStdio(t *testing.T) {
	size := int64(100_000_000)
	if emulated {
		size /= 10
	}
	for _, guest := range cOrGo("cat", "gocat") {
		t.Run(guest, func(t *testing.T) {
			leavesNothing(t)
			in, out := &noise{left: size, rng: rand.New(rand.NewPCG(1, 2)), sum: sha256.New()}, sha256.New()
			var stderr output
			code := ctrStreaming(t, in, out, &stderr, ctrRunArgs(t, guest, nil)...)
			if code != 0 {
				t.Fatalf("exit code %d, stderr %q", code, &stderr)
			}
			if want, got := hex.EncodeToString(in.sum.Sum(nil)), hex.EncodeToString(out.Sum(nil)); want != got {
				t.Fatalf("%d bytes with sha256 %s became %s", size, want, got)
			}
		})
	}
}

// TestStderr keeps the two streams apart.
func TestStderr(t *testing.T) {
	leavesNothing(t)
	r := ctrRun(t, "files", nil, "read", "/nothing/here")
	r.wantCode(t, 1)
	r.wantStdout(t, "")
	r.wantStderr(t, "files: open /nothing/here: No such file or directory")
}

// TestReactor calls a function by its name instead of _start.
func TestReactor(t *testing.T) {
	leavesNothing(t)
	r := ctr(t, "run", "--rm", "--runtime", wasmRuntime, imageName("reactor"), newID(t), "/reactor.wasm#run")
	r.wantCode(t, 0)
	r.wantStdout(t, "run: initialised\n")
}

// TestNames finds modules that an image names without a path.
func TestNames(t *testing.T) {
	for _, name := range []string{"hello-c.wasm", "./hello-c.wasm", "/bin/../hello-c.wasm"} {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			r := ctr(t, "run", "--rm", "--runtime", wasmRuntime, imageName("hello-c"), newID(t), name)
			r.wantCode(t, 0)
			r.wantStdout(t, "hello from c\n")
		})
	}
}

// TestUser runs a guest as somebody else, who owns what it writes.
func TestUser(t *testing.T) {
	leavesNothing(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	b := plan{
		guest: "files",
		args:  []string{"write", "/data/mine", "text"},
		spec:  []oci.SpecOpts{oci.WithUIDGID(1234, 5678), bind(dir, "/data")},
	}.start(t)
	b.waitCode(t, 0)
	uid, gid := owner(t, filepath.Join(dir, "mine"))
	if uid != 1234 || gid != 5678 {
		t.Fatalf("the file belongs to %d:%d, not to 1234:5678", uid, gid)
	}
}

// noise is a reader of random bytes which sums what it gave.
type noise struct {
	left int64
	rng  *rand.Rand
	sum  hash.Hash
}

func (n *noise) Read(p []byte) (int, error) {
	if n.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), n.left)]
	for i := 0; i < len(p); i += 8 {
		v := n.rng.Uint64()
		for j := i; j < min(i+8, len(p)); j++ {
			p[j] = byte(v)
			v >>= 8
		}
	}
	n.left -= int64(len(p))
	n.sum.Write(p)
	return len(p), nil
}
