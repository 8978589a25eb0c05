package wasi

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// The modules that guests import from.
const (
	Preview1 = "wasi_snapshot_preview1"
	Unstable = "wasi_unstable"
)

// function is one of WASI's. Every one returns an errno but proc_exit, which does
// not return.
type function struct {
	name string
	// params are its parameters: i for an i32, I for an i64.
	params string
	call   func(h *Host, s []uint64) errno
}

// functions are those of both modules, by name.
var functions = [...]function{
	{"args_get", "ii", (*Host).argsGet},
	{"args_sizes_get", "ii", (*Host).argsSizesGet},
	{"clock_res_get", "ii", (*Host).clockResGet},
	{"clock_time_get", "iIi", (*Host).clockTimeGet},
	{"environ_get", "ii", (*Host).environGet},
	{"environ_sizes_get", "ii", (*Host).environSizesGet},
	{"fd_advise", "iIIi", (*Host).fdAdvise},
	{"fd_allocate", "iII", (*Host).fdAllocate},
	{"fd_close", "i", (*Host).fdClose},
	{"fd_datasync", "i", (*Host).fdDatasync},
	{"fd_fdstat_get", "ii", (*Host).fdFdstatGet},
	{"fd_fdstat_set_flags", "ii", (*Host).fdFdstatSetFlags},
	{"fd_fdstat_set_rights", "iII", (*Host).fdFdstatSetRights},
	{"fd_filestat_get", "ii", (*Host).fdFilestatGet},
	{"fd_filestat_set_size", "iI", (*Host).fdFilestatSetSize},
	{"fd_filestat_set_times", "iIIi", (*Host).fdFilestatSetTimes},
	{"fd_pread", "iiiIi", (*Host).fdPread},
	{"fd_prestat_dir_name", "iii", (*Host).fdPrestatDirName},
	{"fd_prestat_get", "ii", (*Host).fdPrestatGet},
	{"fd_pwrite", "iiiIi", (*Host).fdPwrite},
	{"fd_read", "iiii", (*Host).fdRead},
	{"fd_readdir", "iiiIi", (*Host).fdReaddir},
	{"fd_renumber", "ii", (*Host).fdRenumber},
	{"fd_seek", "iIii", (*Host).fdSeek},
	{"fd_sync", "i", (*Host).fdSync},
	{"fd_tell", "ii", (*Host).fdTell},
	{"fd_write", "iiii", (*Host).fdWrite},
	{"path_create_directory", "iii", (*Host).pathCreateDirectory},
	{"path_filestat_get", "iiiii", (*Host).pathFilestatGet},
	{"path_filestat_set_times", "iiiiIIi", (*Host).pathFilestatSetTimes},
	{"path_link", "iiiiiii", (*Host).pathLink},
	{"path_open", "iiiiiIIii", (*Host).pathOpen},
	{"path_readlink", "iiiiii", (*Host).pathReadlink},
	{"path_remove_directory", "iii", (*Host).pathRemoveDirectory},
	{"path_rename", "iiiiii", (*Host).pathRename},
	{"path_symlink", "iiiii", (*Host).pathSymlink},
	{"path_unlink_file", "iii", (*Host).pathUnlinkFile},
	{"poll_oneoff", "iiii", (*Host).pollOneoff},
	{"proc_exit", "i", (*Host).procExit},
	{"proc_raise", "i", (*Host).procRaise},
	{"random_get", "ii", (*Host).randomGet},
	{"sched_yield", "", (*Host).schedYield},
	{"sock_accept", "iii", (*Host).sockAccept},
	{"sock_recv", "iiiiii", (*Host).sockRecv},
	{"sock_send", "iiiii", (*Host).sockSend},
	{"sock_shutdown", "ii", (*Host).sockShutdown},
}

// unstable are those that wasi_unstable has otherwise: nil for what it has not.
var unstable = [...]function{
	{"fd_filestat_get", "ii", (*Host).fdFilestatGetUnstable},
	{"fd_seek", "iIii", (*Host).fdSeekUnstable},
	{"path_filestat_get", "iiiii", (*Host).pathFilestatGetUnstable},
	{"poll_oneoff", "iiii", (*Host).pollOneoffUnstable},
	{name: "sock_accept"},
}

// find returns nil for what the module has not.
func find(module, name string) *function {
	named := func(f function) bool { return f.name == name }
	if module == Unstable {
		if i := slices.IndexFunc(unstable[:], named); i >= 0 {
			if unstable[i].call == nil {
				return nil
			}
			return &unstable[i]
		}
	} else if module != Preview1 {
		return nil
	}
	if i := slices.IndexFunc(functions[:], named); i >= 0 {
		return &functions[i]
	}
	return nil
}

// Has says whether the module has a function of the name.
func Has(module, name string) bool { return find(module, name) != nil }

// Instantiate gives the runtime a host module with the functions of the names,
// which Has must know. All would take half a millisecond.
func (h *Host) Instantiate(ctx context.Context, runtime wazero.Runtime, module string, names []string) (api.Module, error) {
	builder := runtime.NewHostModuleBuilder(module)
	for _, name := range names {
		f := find(module, name)
		if f == nil {
			return nil, fmt.Errorf("%s has no function %s", module, name)
		}
		params := make([]api.ValueType, len(f.params))
		for i, p := range f.params {
			params[i] = api.ValueTypeI32
			if p == 'I' {
				params[i] = api.ValueTypeI64
			}
		}
		results := []api.ValueType{api.ValueTypeI32}
		if name == "proc_exit" {
			results = nil
		}
		builder.NewFunctionBuilder().WithGoModuleFunction(&bound{h, f.call}, params, results).Export(name)
	}
	return builder.Instantiate(ctx)
}

// bound is a function of a host.
type bound struct {
	host *Host
	call func(h *Host, s []uint64) errno
}

// Call gives the function its parameters, an i32 in the lower half of each.
func (b *bound) Call(_ context.Context, module api.Module, stack []uint64) {
	if b.host.memory == nil {
		b.host.memory = memoryOf(module)
	}
	e := b.call(b.host, stack)
	stack[0] = uint64(e)
}

// memoryOf returns nil for a module without a memory, where wazero returns an
// interface with a nil in it.
func memoryOf(module api.Module) api.Memory {
	memory := module.Memory()
	if memory == nil || reflect.ValueOf(memory).IsNil() {
		return nil
	}
	return memory
}
