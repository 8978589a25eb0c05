package command

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/place"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
)

// report is a table of findings. Text out of images and modules is made harmless
// for terminals.
type report struct{ lines [][]string }

func (r *report) line(name string, cells ...string) {
	for i := range cells {
		cells[i] = harmless(cells[i])
	}
	r.lines = append(r.lines, append([]string{name}, cells...))
}

// harmless quotes text with characters that a terminal might obey.
func harmless(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return text
}

// print writes the table; a name that repeats is written once.
func (r *report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	last := ""
	for _, line := range r.lines {
		name := line[0]
		if name == last {
			name = ""
		}
		last = line[0]
		fmt.Fprintln(w, strings.Join(append([]string{name}, line[1:]...), "\t"))
	}
	return w.Flush()
}

// engines reports what engines make of an image, which is decided by the form
// that all its manifests have, and by their platforms.
func (r *report) engines(found *place.Found) error {
	var first form.Form
	var platforms []v1.Platform
	for i, img := range found.Images {
		f, err := form.Of(img)
		if err != nil || i > 0 && f != first {
			return nil // which is no image of one program
		}
		p, err := form.PlatformOf(img)
		if err != nil {
			return err
		}
		first, platforms = f, append(platforms, p)
	}
	for _, v := range form.Verdicts(first, platforms, found.Index) {
		r.line("engines", v.Engine+": "+v.Says)
	}
	return nil
}

// image reports on one manifest.
func (r *report) image(img v1.Image) error {
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	p, err := form.PlatformOf(img)
	if err != nil {
		return err
	}
	r.line("image", digest.String())
	r.line("platform", p.String())
	r.line("configuration", string(manifest.Config.MediaType))
	for _, l := range manifest.Layers {
		r.line("layers", fmt.Sprintf("%s, %d bytes, %s", l.MediaType, l.Size, l.Digest))
	}
	r.pairs("annotations", manifest.Annotations)
	f, err := form.Of(img)
	if err != nil {
		r.line("form", err.Error())
		return nil
	}
	r.line("form", string(f))
	if f == form.Artifact {
		return nil
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	r.config(config.Config)
	return nil
}

func (r *report) config(c v1.Config) {
	list := func(name string, values []string) {
		if len(values) > 0 {
			r.line(name, fmt.Sprintf("%q", values))
		}
	}
	text := func(name, value string) {
		if value != "" {
			r.line(name, value)
		}
	}
	list("entrypoint", c.Entrypoint)
	list("cmd", c.Cmd)
	list("env", c.Env)
	text("workdir", c.WorkingDir)
	text("user", c.User)
	r.pairs("labels", c.Labels)
}

func (r *report) pairs(name string, pairs map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		r.line(name, key+"="+pairs[key])
	}
}

// module reports on a module; function is the entry function, _start if empty.
func (r *report) module(name string, module []byte, found engine.Report, function string) {
	r.line("module", fmt.Sprintf("%s, %d bytes, sha256:%x", name, len(module), sha256.Sum256(module)))
	for _, i := range found.Imports {
		r.line("imports", i.Module+"."+i.Name, strings.TrimSpace(i.Kind+" "+i.Type))
	}
	for _, e := range found.Exports {
		r.line("exports", e.Name, strings.TrimSpace(e.Kind+" "+e.Type))
	}
	for _, m := range found.Memories {
		r.line("memory", m)
	}
	if len(found.Proposals) > 0 {
		r.line("proposals", strings.Join(found.Proposals, ", "))
	}
	if found.HasStart {
		r.line("start", "a start section runs code before the entry function")
	}
	if found.Refusal != nil {
		r.line("runs here", "no: "+found.Refusal.Error())
		return
	}
	if function == "" {
		function = "_start"
	}
	r.line("runs here", "yes, from its function "+function)
}
