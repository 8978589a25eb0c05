package form

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
)

// Settings are what somebody wants an image to say. What is empty stays as the
// image has it, and what is a list of names adds to it.
type Settings struct {
	Entrypoint  []string // the module's path first, with #function at will
	Cmd         []string // the default arguments
	Env         []string // NAME=value
	WorkingDir  string
	User        string // user or user:group, names or numbers
	Labels      map[string]string
	Annotations map[string]string
}

// New makes a program of a module that is in no image yet. Its file name gives
// it the entrypoint that it has by default.
func New(file string, module []byte, created time.Time, settings Settings) (*Program, error) {
	p := &Program{Module: module, Name: path.Base(file), Created: created}
	p.Config.Entrypoint = []string{"/" + p.Name}
	if err := engine.Recognise(module); err != nil {
		return nil, fmt.Errorf("%s %w", file, err)
	}
	return p, p.apply(settings)
}

// apply overrides what the program's image says.
func (p *Program) apply(s Settings) error {
	c := &p.Config
	if len(s.Entrypoint) > 0 {
		// As in a Dockerfile, arguments belong to the entrypoint that they came with.
		c.Entrypoint, c.Cmd = s.Entrypoint, nil
	}
	if len(s.Cmd) > 0 {
		c.Cmd = s.Cmd
	}
	for _, variable := range s.Env {
		name, _, ok := strings.Cut(variable, "=")
		if !ok || name == "" {
			return fmt.Errorf("environment: %q is not of the form NAME=value", variable)
		}
		c.Env = setVariable(c.Env, name, variable)
	}
	if s.WorkingDir != "" {
		if !path.IsAbs(s.WorkingDir) {
			return fmt.Errorf("working directory: %q is not absolute", s.WorkingDir)
		}
		c.WorkingDir = path.Clean(s.WorkingDir)
	}
	if s.User != "" {
		c.User = s.User
	}
	c.Labels = merged(c.Labels, s.Labels)
	p.Annotations = merged(p.Annotations, s.Annotations)
	_, _, err := p.entry()
	return err
}

// setVariable replaces a variable where it is, or adds it.
func setVariable(env []string, name, variable string) []string {
	var out []string
	replaced := false
	for _, old := range env {
		switch {
		case !strings.HasPrefix(old, name+"="):
			out = append(out, old)
		case !replaced:
			out, replaced = append(out, variable), true
		}
	}
	if !replaced {
		out = append(out, variable)
	}
	return out
}

func merged(old, new map[string]string) map[string]string {
	if len(old)+len(new) == 0 {
		return nil
	}
	all := map[string]string{}
	maps.Copy(all, old)
	maps.Copy(all, new)
	return all
}

// PlatformOf is what an image's configuration says that it is for. Those of
// artifacts say it by the same fields; what is no JSON at all says nothing.
func PlatformOf(img v1.Image) (v1.Platform, error) {
	data, err := img.RawConfigFile()
	if err != nil {
		return v1.Platform{}, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(data))
	if err != nil {
		return v1.Platform{}, nil
	}
	return v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}, nil
}
