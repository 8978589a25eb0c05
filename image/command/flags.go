package command

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/form"
)

// wanted is what the flags of build and convert say of the new image.
type wanted struct {
	form      form.Form
	platforms []v1.Platform
	settings  form.Settings
	add       []addition
}

// addition is a file or folder that the image shall hold.
type addition struct{ source, place string }

func (w *wanted) register(flags *flag.FlagSet) {
	w.form = form.Rootfs
	s := &w.settings
	flags.Func("form", "`FORM` of the image: rootfs, a file as in any container image, which every engine runs; layer, runwasi's;\nartifact, the CNCF's (default rootfs)", func(text string) (err error) {
		w.form, err = form.Parse(text)
		return err
	})
	flags.Func("platform", "`OS/ARCHITECTURE` that the image says it is for; several, or a list with commas, make an index\n(default linux/amd64 for rootfs, which runs on every CPU; wasip1/wasm for the others)", w.addPlatforms)
	flags.Func("entrypoint", "`PATH` of the module in the image, or PATH#FUNCTION; again for arguments that are always given\n(default / and the module's file name)", appendTo(&s.Entrypoint))
	flags.Func("cmd", "default `ARGUMENT`; again for more", appendTo(&s.Cmd))
	flags.Func("env", "`NAME=VALUE` in the environment; again for more", appendTo(&s.Env))
	flags.StringVar(&s.WorkingDir, "workdir", "", "`FOLDER` to work in")
	flags.StringVar(&s.User, "user", "", "`USER[:GROUP]` to run as; numbers need no /etc/passwd in the image")
	flags.Func("label", "`NAME=VALUE` of a label; again for more", addTo(&s.Labels))
	flags.Func("annotation", "`NAME=VALUE` of an annotation of the manifest; again for more", addTo(&s.Annotations))
	flags.Func("add", "`SOURCE:PLACE`: a file or folder of this machine, and where it shall be in the image; again for more", func(text string) error {
		source, place, ok := cutLast(text, ":")
		if !ok || source == "" {
			return fmt.Errorf("write SOURCE:PLACE, such as app.conf:/etc/app.conf")
		}
		w.add = append(w.add, addition{source, place})
		return nil
	})
}

func (w *wanted) addPlatforms(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		p, err := v1.ParsePlatform(part)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return fmt.Errorf("%q is not a platform; write OS/ARCHITECTURE, such as linux/arm64", part)
		}
		w.platforms = append(w.platforms, *p)
	}
	return nil
}

// addFiles puts what the flag add says into the program.
func (w *wanted) addFiles(p *form.Program) error {
	for _, a := range w.add {
		if err := p.Add.Copy(a.source, a.place); err != nil {
			return err
		}
	}
	return nil
}

func appendTo(list *[]string) func(string) error {
	return func(text string) error {
		*list = append(*list, text)
		return nil
	}
}

func addTo(values *map[string]string) func(string) error {
	return func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return fmt.Errorf("write NAME=VALUE")
		}
		if *values == nil {
			*values = map[string]string{}
		}
		(*values)[name] = value
		return nil
	}
}

// cutLast cuts around the last separator: the name of a file may have others.
func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}

// date is that of everything in a new image, by the convention of reproducible
// builds (reproducible-builds.org, SOURCE_DATE_EPOCH).
func date() (time.Time, error) {
	const variable = "SOURCE_DATE_EPOCH"
	text := os.Getenv(variable)
	if text == "" {
		return time.Unix(0, 0), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("%s: %q is not a number of seconds since 1970", variable, text)
	}
	return time.Unix(seconds, 0), nil
}
