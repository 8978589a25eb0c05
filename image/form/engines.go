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

// own is what chooses an image whose platform is not the machine's.
const (
	own   = "with its own `--platform`, for `ctr image pull --local` and `ctr run`"
	local = "with its own `--platform`, for `ctr image import --local` and `ctr run`"
)

// What Docker's own image store does not have.
const withStore = "runs with the containerd image store"

// kinds are all that engines tell apart, with the verdicts. Engines are the
// columns. The end-to-end test of arrivals holds what they say to what it
// measures: whether an image runs, with `--platform`, with a command, and the
// words in quotes.
var kinds = []struct {
	kind
	verdicts [5]string
}{
	{kind{Rootfs, false, false}, [5]string{
		"runs",
		"runs; elsewhere runs " + local,
		"runs",
		"runs; elsewhere with a warning",
		"runs",
	}},
	{kind{Rootfs, false, true}, [5]string{
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
	}},
	{kind{Rootfs, true, false}, [5]string{
		"runs",
		"runs " + local,
		"does not run: pulled, but not unpacked, \"parent snapshot\" (containerd 1.7 runs it)",
		withStore,
		"runs",
	}},
	{kind{Rootfs, true, true}, [5]string{
		"runs " + own,
		"runs " + local,
		"does not run: \"no match for platform in manifest\"",
		withStore + " and `--platform`, without which `docker pull` finds none, and `docker load` any",
		"does not run: nothing for linux in it",
	}},
	{kind{Layer, false, false}, [5]string{
		"runs; the root file system is empty",
		"runs; elsewhere runs " + local,
		"runs; the root file system is empty",
		withStore,
		"does not run: its image store takes tar layers alone",
	}},
	{kind{Layer, false, true}, [5]string{
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
		"runs on the architectures that it lists",
		withStore + ", on the architectures that it lists",
		"does not run: its image store takes tar layers alone",
	}},
	{kind{Layer, true, false}, [5]string{
		"runs; the root file system is empty",
		"runs " + local,
		"runs; the root file system is empty",
		withStore,
		"does not run: its image store takes tar layers alone",
	}},
	{kind{Layer, true, true}, [5]string{
		"runs " + own,
		"runs " + local,
		"does not run: \"no match for platform in manifest\"",
		withStore + " and `--platform`, without which `docker pull` finds none, and `docker load` any",
		"does not run: its image store takes tar layers alone",
	}},
	{kind{Artifact, true, false}, [5]string{
		"does not run: pulled, but `ctr run` cannot use its configuration, \"unknown image config media type\"",
		"does not run: `ctr run` cannot use its configuration, \"unknown image config media type\"",
		"runs where the pod gives `command` or `args`",
		withStore + " and a command: `docker run IMAGE COMMAND`",
		"does not run: its image store takes tar layers alone",
	}},
}

// Engines are the ways by which images come to engines, in the order of the
// verdicts. CRI is containerd's from 2.0 on.
var Engines = [5]string{"`ctr image pull`", "`ctr image import`", "CRI (containerd 2)", "Docker", "CRI-O"}

// Verdicts says what engines with this shim make of an image of a form, whose
// manifests, in an index or not, are for the platforms.
func Verdicts(f Form, platforms []v1.Platform, index bool) []Verdict {
	want := kind{form: f, index: index, wasi: true}
	for _, p := range platforms {
		want.wasi = want.wasi && p.OS != "linux"
	}
	switch f {
	case Artifact: // an index of artifacts is nobody's custom
		want.wasi, want.index = true, false
	}
	for _, k := range kinds {
		if k.kind != want {
			continue
		}
		var verdicts []Verdict
		for i, name := range Engines {
			verdicts = append(verdicts, Verdict{name, k.verdicts[i]})
		}
		return verdicts
	}
	return nil
}

// Table is a table in Markdown of what engines make of which images.
func Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| form | platform | %s |\n", strings.Join(Engines[:], " | "))
	fmt.Fprintf(&b, "|---|---|%s\n", strings.Repeat("---|", len(Engines)))
	for _, k := range kinds {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", k.form, k.platform(), strings.Join(k.verdicts[:], " | "))
	}
	return b.String()
}

func (k kind) platform() string {
	switch {
	case k.form == Artifact:
		return "wasip1/wasm"
	case k.index && k.wasi:
		return "an index of wasi/wasm or wasip1/wasm alone"
	case k.index:
		return "an index of linux/…"
	case k.wasi:
		return "wasi/wasm, wasip1/wasm"
	}
	return "linux, any architecture"
}
