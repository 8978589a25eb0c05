package form

import (
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Verdict is what an engine makes of an image.
type Verdict struct{ Engine, Says string }

// kind is what decides about an engine: the form, and for whom it says it is.
type kind struct {
	form  Form
	wasi  bool // the platform is wasi/wasm or wasip1/wasm, not linux
	index bool
}

// kinds are all that engines tell apart, with the verdicts. Engines are the
// columns: ctr, containerd's CRI plugin from 2.0 on, Docker, CRI-O.
var kinds = []struct {
	kind
	verdicts [4]string
}{
	{kind{Rootfs, false, false}, [4]string{
		"runs",
		"runs",
		"runs",
		"runs",
	}},
	{kind{Rootfs, false, true}, [4]string{
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
	}},
	{kind{Rootfs, true, false}, [4]string{
		"runs",
		"does not run: pulled, but not unpacked (containerd 1.7 runs it)",
		"runs with the containerd image store: `--platform wasi/wasm`",
		"runs",
	}},
	{kind{Rootfs, true, true}, [4]string{
		"runs: `ctr image pull --local --platform wasi/wasm`, `ctr run --platform wasi/wasm`",
		"does not run: \"no match for platform in manifest\"",
		"runs with the containerd image store: `--platform wasi/wasm`",
		"does not run: nothing for linux in it",
	}},
	{kind{Layer, true, false}, [4]string{
		"runs; the root file system is empty",
		"runs; the root file system is empty",
		"runs with the containerd image store: `--platform wasip1/wasm`",
		"does not run: its image store takes tar layers alone",
	}},
	{kind{Layer, true, true}, [4]string{
		"runs: `ctr image pull --local --platform wasip1/wasm`, `ctr run --platform wasip1/wasm`",
		"does not run: \"no match for platform in manifest\"",
		"runs with the containerd image store: `--platform wasip1/wasm`",
		"does not run: its image store takes tar layers alone",
	}},
	{kind{Artifact, true, false}, [4]string{
		"pulls it; `ctr run` cannot use its configuration",
		"runs where the pod gives `command` or `args`",
		"does not run: its configuration is no container's",
		"does not run: its image store takes tar layers alone",
	}},
}

var engineNames = [4]string{"ctr", "CRI (containerd 2)", "Docker", "CRI-O"}

// Verdicts says what engines with this shim make of an image of a form, whose
// manifests, in an index or not, are for the platforms.
func Verdicts(f Form, platforms []v1.Platform, index bool) []Verdict {
	want := kind{form: f, index: index, wasi: true}
	for _, p := range platforms {
		want.wasi = want.wasi && p.OS != "linux"
	}
	switch f {
	case Layer:
		want.wasi = true
	case Artifact: // an index of artifacts is nobody's custom
		want.wasi, want.index = true, false
	}
	for _, k := range kinds {
		if k.kind != want {
			continue
		}
		var verdicts []Verdict
		for i, name := range engineNames {
			verdicts = append(verdicts, Verdict{name, k.verdicts[i]})
		}
		return verdicts
	}
	return nil
}

// Table is a table in Markdown of what engines make of which images.
func Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| form | platform | %s |\n", strings.Join(engineNames[:], " | "))
	fmt.Fprintf(&b, "|---|---|%s\n", strings.Repeat("---|", len(engineNames)))
	for _, k := range kinds {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", k.form, k.platform(), strings.Join(k.verdicts[:], " | "))
	}
	return b.String()
}

func (k kind) platform() string {
	switch {
	case k.index && k.wasi && k.form == Rootfs:
		return "an index of wasi/wasm alone"
	case k.index && k.wasi:
		return "an index of wasip1/wasm alone"
	case k.index:
		return "an index of linux/…"
	case k.form == Rootfs && k.wasi:
		return "wasi/wasm, wasip1/wasm"
	case k.form == Rootfs:
		return "linux, any architecture"
	}
	return "wasip1/wasm"
}
