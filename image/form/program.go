package form

import (
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/image/rootfs"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/oci"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/modulefile"
)

// MaxModule bounds, in bytes, the modules that are read into memory.
const MaxModule = modulefile.MaxSize

// Program is a module and what an image says about it, in whatever form.
type Program struct {
	// Module is the binary.
	Module []byte
	// Config is what containers start with; Entrypoint or Cmd names the module.
	Config v1.Config
	// Annotations are those of the manifest.
	Annotations map[string]string
	// Name is the file name of the module, without a folder.
	Name string
	// Created is the date of everything in the image.
	Created time.Time
	// Add is what the root file system holds beside the module.
	Add rootfs.Tree

	// base is the image in rootfs form that the program was read from, and rest
	// are its files beside the module.
	base v1.Image
	rest []string
}

// command is the command line of a container of this image.
func (p *Program) command() []string {
	return slices.Concat(p.Config.Entrypoint, p.Config.Cmd)
}

// entry says where the module is in a root file system, as the shim will look
// for it, and which of its functions is called; empty means _start.
func (p *Program) entry() (places []string, function string, err error) {
	module, err := oci.Resolve(&specs.Spec{Process: &specs.Process{
		Args: p.command(), Env: p.Config.Env, Cwd: p.Config.WorkingDir,
	}})
	return module.Paths, module.Function, err
}

// Function is the exported function that containers call; empty means _start.
func (p *Program) Function() string {
	_, function, err := p.entry()
	if err != nil {
		return ""
	}
	return function
}
