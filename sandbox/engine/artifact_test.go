package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/guests/asm"
)

// builtGuests is where `make guests` puts the modules of all languages.
const builtGuests = "../../.engines/guests"

// Every guest says and does the same from its artifact as from its module.
func TestGuestsFromTheirArtifacts(t *testing.T) {
	modules, err := filepath.Glob(filepath.Join(builtGuests, "*.wasm"))
	if err != nil || len(modules) == 0 {
		t.Fatalf("no guests in %s (%v): run `make guests`", builtGuests, err)
	}
	args := map[string][][]string{
		"trap":    {{"divide"}, {"unreachable"}, {"bounds"}, {"recursion"}, {"abort"}},
		"exit":    {{"3"}},
		"args":    {{"a", "b c", ""}},
		"sleep":   {{"0"}},
		"spin":    nil, // never ends
		"alloc":   nil, // takes what there is
		"gofiles": {{"cwd"}},
		"fill":    nil, // writes until the disk is full
	}
	for _, path := range modules {
		name := strings.TrimSuffix(filepath.Base(path), ".wasm")
		runs, listed := args[name]
		if !listed {
			runs = [][]string{{}}
		}
		module, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range runs {
			t.Run(fmt.Sprintf("%s %v", name, args), func(t *testing.T) {
				t.Parallel()
				sandbox{module: module, args: args, stdin: "input\n", env: []string{"PWD=/"}}.run(t)
			})
		}
	}
}

// written compiles a module and returns its artifact, opened.
func written(t *testing.T, module []byte) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "artifact"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	artifact, err := Compile(t.Context(), "guest", module, file, artifactOffset)
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if size := info.Size() - artifactOffset; size != artifact.Size {
		t.Errorf("%d bytes are said to be written, %d are", artifact.Size, size)
	}
	return file
}

// The fallback would hide that code is kept no more.
func TestArtifactsHaveCode(t *testing.T) {
	module := goGuest(t, "gofiles")
	opened, err := openArtifact(written(t, module), artifactOffset)
	if err != nil {
		t.Fatal(err)
	}
	if !opened.hasCode() || len(opened.entry.code) < len(module)/2 {
		t.Fatalf("code of %d bytes for a module of %d", len(opened.entry.code), len(module))
	}
	if len(opened.module) > len(module)/4 {
		t.Errorf("the stub has %d of the module's %d bytes", len(opened.module), len(module))
	}
	if len(opened.image) == 0 {
		t.Error("there is no image of the memory")
	}
	private := func(module []byte) int {
		opened, err := openArtifact(written(t, module), artifactOffset)
		if err != nil {
			t.Fatal(err)
		}
		_, private, err := opened.link(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return private
	}
	if n := private(module); n != 0 {
		t.Errorf("%d bytes of the code are the process's own", n)
	}
}

func TestTheReleaseOfWazeroIsTheOneLookedAt(t *testing.T) {
	file, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/tetratelabs/wazero v" + wazeroVersion + "\n"; !bytes.Contains(file, []byte(want)) {
		t.Errorf("go.mod does not have %q: look at what unexported.go uses, and change wazeroVersion", want)
	}
}

func TestUnusableArtifacts(t *testing.T) {
	good := written(t, guest(noStart, nil, function{"_start", typeVoid, asm.Code(0)}))
	content, err := os.ReadFile(good.Name())
	if err != nil {
		t.Fatal(err)
	}
	body := content[artifactOffset:]
	for _, c := range []struct {
		name string
		body []byte
		want string
	}{
		{"empty", nil, "is cut off"},
		{"another file", bytes.Repeat([]byte("text"), 100), "is of another kind"},
		{"without its pieces", body[:os.Getpagesize()], "is cut off"},
		{"an index of any length", append([]byte(artifactMagic), 255, 255, 255, 255), "is of another kind"},
		{"other settings", bytes.Replace(body, []byte("wazero 1."), []byte("wazero 9."), 1), "was made with other settings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "artifact")
			if err := os.WriteFile(path, c.body, 0o600); err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Load(t.Context(), Config{Name: "guest", Artifact: file})
			if err == nil || !strings.Contains(err.Error(), "module guest has an artifact that cannot be used") ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCompileWithoutRoom(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	_, err = Compile(t.Context(), "guest", guest(noStart, nil, function{"_start", typeVoid, asm.Code(0)}), full, 0)
	if err == nil || !strings.Contains(err.Error(), ErrStore.Error()) {
		t.Errorf("got %v, want ErrStore", err)
	}
}
