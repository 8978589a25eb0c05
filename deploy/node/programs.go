package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/options"
)

// shimProgram is what containerd starts; the other one is found beside it.
const shimProgram = "containerd-shim-wasm-v1"

var programs = []string{"wasm-sandbox", shimProgram}

// copyPrograms puts the programs of a folder of this image's into one of the
// node's, and sees that the shim runs there.
func copyPrograms(ctx context.Context, r *record, from, to string) (changed bool, err error) {
	for _, name := range programs {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return changed, fmt.Errorf("the programs to install: %w; -programs names their folder", err)
		}
		done, err := r.put(filepath.Join(to, name), data, 0o755, false)
		if err != nil {
			return changed, fmt.Errorf("install %s on the node: %w", filepath.Join(to, name), err)
		}
		changed = changed || done
	}
	shim := filepath.Join(to, shimProgram)
	if out, err := r.host.run(ctx, shim, "-info"); err != nil {
		return changed, fmt.Errorf("%s does not run on the node: %w: %s; is the image for its CPU, and is the folder mounted noexec?", shim, err, bytes.TrimSpace(out))
	}
	return changed, nil
}

// claimCache notes the folder of compiled modules, which shims will make.
func claimCache(r *record) error {
	if r.host.exists(options.DefaultCacheDir) {
		return nil
	}
	return r.add(change{Path: options.DefaultCacheDir, Kind: cache})
}

// run runs a program of the node's with the node's root, and returns its output;
// of its errors, what it wrote instead.
func (h host) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	path, err := h.path(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Path = h.own(path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: string(h)}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return append(out.Bytes(), errs.Bytes()...), err
	}
	return out.Bytes(), nil
}

// dump asks the node's containerd program what its configuration comes to, and
// holds that against what pods need. Where there is no such program, CRI is the
// only one to say.
func dump(ctx context.Context, h host, d distribution) error {
	var program string
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"} {
		if path := dir + "/containerd"; program == "" && h.exists(path) {
			program = path
		}
	}
	if !d.dumpable || program == "" {
		return nil
	}
	out, err := h.run(ctx, program, "--config", d.config, "config", "dump")
	if err != nil {
		return fmt.Errorf("%s config dump on the node: %w: %s", program, err, bytes.TrimSpace(out))
	}
	var config source
	if err := toml.Unmarshal(out, &config); err != nil {
		return fmt.Errorf("%s config dump on the node: %w", program, err)
	}
	names := config.runtimes()
	ordinary, _ := at(config.Plugins, section(config.Version), "containerd", "default_runtime_name").(string)
	for _, name := range []string{handler, ordinary} {
		if names[name] == nil {
			return fmt.Errorf("%s config dump on the node: with the runtime %s added to %s there is no runtime %q in it", program, handler, d.config, name)
		}
	}
	return nil
}

// inUse lists the processes of the node whose program is the shim's, as their
// command lines say: these are readable without any privilege.
func inUse(h host) (pids []int, err error) {
	path, err := h.path("/proc")
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("processes of the node: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join(path, e.Name(), "cmdline"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("processes of the node: %w", err)
		}
		if name, _, _ := strings.Cut(string(line), "\x00"); filepath.Base(name) == shimProgram {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}
