package arrivals

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
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
	if plain == nil && len(f.image.Index) > 0 && f.chosen().Platform.OS != linux.OS {
		return w.tryEither(t, f, s, output)
	}
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
		if h == platform && f.doubtful && (r == nil || strings.Contains(r.says, doubt)) {
			// Whether the other module is still there is up to containerd's collection.
			if r == nil {
				ran(t, f, w, output, "")
			}
			return cell(fmt.Sprintf("%s; with %s runs that one, unless the other is there too: %q", says, name, doubt))
		}
		if r == nil {
			return ran(t, f, w, output, " with "+name+"; else "+plain.reason(t, f, w))
		}
		if other := r.reason(t, f, w); other != plain.reason(t, f, w) {
			says += "; with " + name + " " + other
		}
	}
	return cell(says)
}

// tryEither is for an image that ran although nothing said which one of its index
// it should be.
func (w way) tryEither(t *testing.T, f form, s source, output string) cell {
	t.Helper()
	if !slices.Contains(f.texts(), output) {
		t.Errorf("%s by %s: it wrote %q, want one of %q", f.what, w.name, output, f.texts())
	}
	output, r := w.run(t, s, platform)
	if r != nil {
		return cell("runs any of them; with `--platform " + s.platform + "` " + r.reason(t, f, w))
	}
	ran(t, f, w, output, "")
	return cell("runs any of them; with `--platform " + s.platform + "` that one")
}

func ran(t *testing.T, f form, w way, output, how string) cell {
	t.Helper()
	if want := f.text(); output != want {
		t.Errorf("%s by %s: it wrote %q, want %q", f.what, w.name, output, want)
	}
	return cell("runs" + how)
}

// doubt is what the shim says of an index with two modules.
const doubt = "engines do not tell which one"

// reasons are what refusals say, each in the words of who refuses.
var reasons = []string{
	"image might be filtered out",
	"no match for platform in manifest",
	"mismatched image rootfs and manifest layers",
	"unknown image config media type",
	"no command specified",
	"parent snapshot sha256:… does not exist",
	"cannot load wasi image on linux",
	"cannot load wasip1 image on linux",
	"does not contain a manifest.json",
	"operating system is not supported",
	"no matching manifest",
	"unsupported media type",
	doubt,
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

// A chart is a table with a column for every way.
type chart struct {
	head, rule string
	rows       []string // of the cells
}

func newChart(forms []form) *chart {
	c := &chart{head: "| image |", rule: "|---|"}
	for _, f := range forms {
		c.rows = append(c.rows, "| "+f.what+" |")
	}
	return c
}

func (c *chart) String() string {
	return c.head + "\n" + c.rule + "\n" + strings.Join(c.rows, "\n") + "\n"
}

// fill adds the columns of ways, with what becomes of the images that come by
// them, and returns the cells of every way.
func (c *chart) fill(t *testing.T, ways []way, of string, forms []form, sources []source) (columns [][]cell) {
	t.Helper()
	for _, w := range ways {
		c.head += fmt.Sprintf(" %s, %s |", w.name, of)
		c.rule += "---|"
		var column []cell
		for i, f := range forms {
			got := w.try(t, f, sources[i])
			t.Logf("%s by %s, %s: %s", f.what, w.name, of, got)
			c.rows[i] += " " + string(got) + " |"
			column = append(column, got)
		}
		columns = append(columns, column)
	}
	return columns
}

// TestArrivals has images of all forms come by all ways to all releases, and to
// Docker. Nothing is taken for granted: a container ran if its guest's output is
// there.
func TestArrivals(t *testing.T) {
	if *document == "" {
		t.Fatal("run `make test-arrivals`")
	}
	registry := serve(t)
	all := forms(t)
	var sources []source
	for i, f := range all {
		sources = append(sources, publish(t, registry, fmt.Sprintf("form-%d", i), f))
	}

	plain := newChart(all)
	var newest [][]cell
	var release string
	for _, release = range filepath.SplitList(*releases) {
		h := start(t, release)
		newest = plain.fill(t, append(h.pullAndImport(), h.newPod(t).byCRI()), "containerd "+h.version, all, sources)
	}
	docker := newChart(all)
	var stores [2][][]cell
	for i, imageStore := range []bool{true, false} {
		t.Run("Docker", func(t *testing.T) {
			d := startDocker(t, release, imageStore)
			stores[i] = docker.fill(t, d.pullAndLoad(), d.store, all, sources)
		})
	}
	if t.Failed() {
		return
	}
	for i, f := range all {
		f.compare(t, map[string][]cell{
			"`ctr image pull`":   {newest[0][i]},
			"`ctr image import`": {newest[1][i]},
			"CRI (containerd 2)": {newest[2][i]},
			"Docker":             {stores[0][0][i], stores[0][1][i], stores[1][0][i], stores[1][1][i]},
		})
	}
	for name, c := range map[string]*chart{"arrivals": plain, "arrivals-docker": docker} {
		if err := table.Keep(*document, name, c.String(), *update, "make test-arrivals UPDATE=1"); err != nil {
			t.Error(err)
		}
	}
}
