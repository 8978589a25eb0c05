package arrivals

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/table"
)

// A cell says what became of an image: that its container ran, or which step was
// refused, by whom and why.
type cell string

// try runs an image plainly and, where that is refused, with each help that
// there is.
func (w way) try(t *testing.T, f form, s source) cell {
	t.Helper()
	output, plain := w.run(t, s, none)
	if plain == nil {
		return ran(t, f, w, output, "")
	}
	says := plain.reason(t, f, w)
	for _, h := range w.helps {
		name := "a command"
		if h == platform {
			name = "`--platform " + s.platform + "`"
		}
		output, r := w.run(t, s, h)
		if r == nil {
			return ran(t, f, w, output, " with "+name+"; else "+plain.reason(t, f, w))
		}
		if other := r.reason(t, f, w); other != plain.reason(t, f, w) {
			says += "; with " + name + " " + other
		}
	}
	return cell(says)
}

func ran(t *testing.T, f form, w way, output, how string) cell {
	t.Helper()
	if output != hello {
		t.Errorf("%s by %s: it wrote %q", f.what, w.name, output)
	}
	return cell("runs" + how)
}

// reasons are what refusals say, each in the words of who refuses.
var reasons = []string{
	"image might be filtered out",
	"no match for platform in manifest",
	"mismatched image rootfs and manifest layers",
	"unknown image config media type",
	"no command specified",
	"parent snapshot sha256:… does not exist",
}

// digests differ from one CPU to another.
var digests = regexp.MustCompile("sha256:[0-9a-f]{64}")

// reason is the step and what was said of it, which must be one of the reasons
// known: no image is refused without a word.
func (r *refusal) reason(t *testing.T, f form, w way) string {
	t.Helper()
	says := digests.ReplaceAllString(r.says, "sha256:…")
	for _, reason := range reasons {
		if strings.Contains(says, reason) {
			return fmt.Sprintf("%s: %q", r.step, reason)
		}
	}
	t.Errorf("%s by %s: %s is refused for a reason that the table does not know: %s", f.what, w.name, r.step, r.says)
	return r.step + ": ?"
}

// TestArrivals has images of all forms come by all ways to all releases. Nothing
// is taken for granted: a container ran if its guest's output is there.
func TestArrivals(t *testing.T) {
	if *document == "" {
		t.Fatal("run `make test-arrivals`")
	}
	registry := serve(t)
	all := forms(t)
	var sources []source
	for i, f := range all {
		sources = append(sources, publish(t, registry, fmt.Sprintf("form-%d", i), f.image))
	}

	head, rule := "| image |", "|---|"
	rows := make([]string, len(all))
	for _, release := range filepath.SplitList(*releases) {
		h := start(t, release)
		ways := append(h.pullAndImport(), h.newPod(t).byCRI())
		for _, w := range ways {
			head += fmt.Sprintf(" %s %s |", w.name, h.version)
			rule += "---|"
		}
		for i, f := range all {
			for _, w := range ways {
				c := w.try(t, f, sources[i])
				t.Logf("%s by %s %s: %s", f.what, w.name, h.version, c)
				rows[i] += " " + string(c) + " |"
			}
		}
	}
	text := head + "\n" + rule + "\n"
	for i, f := range all {
		text += "| " + f.what + " |" + rows[i] + "\n"
	}
	if t.Failed() {
		return
	}
	if err := table.Keep(*document, "arrivals", text, *update, "make test-arrivals UPDATE=1"); err != nil {
		t.Error(err)
	}
}
