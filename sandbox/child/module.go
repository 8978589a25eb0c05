package child

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/engine"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/modulefile"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox/wire"
)

// fetch has the parent give the artifact of the module. The process must already
// be in the container's root file system. What it holds is the caller's.
func fetch(control *os.File, module wire.Module) (name string, artifact *os.File, offset int64, err error) {
	name = module.Name
	var file *os.File
	if len(module.Paths) > 0 {
		if name, file, err = modulefile.Find(nil, module.Args[0], module.Paths); err != nil {
			return "", nil, 0, err
		}
		defer file.Close()
	}
	if err := wire.SendFile(control, wire.Report{Path: name, Settings: engine.Settings()}, file); err != nil {
		return "", nil, 0, err
	}
	var code wire.Code
	if artifact, err = wire.ReceiveFile(control, &code); err == nil && code.Hash && file != nil {
		var d string
		if d, err = modulefile.Sum(file); err != nil {
			return "", nil, 0, fmt.Errorf("module %s: %w", name, err)
		}
		if err = wire.Send(control, wire.Digest{Digest: d}); err == nil {
			artifact, err = wire.ReceiveFile(control, &code)
		}
	}
	if err == nil && artifact == nil {
		err = errors.New("no artifact came")
	}
	return name, artifact, code.Offset, err
}
