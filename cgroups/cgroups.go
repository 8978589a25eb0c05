// Package cgroups holds the control group of one container: it makes it,
// limits it, freezes it, measures it, watches it for out-of-memory kills and
// removes it.
package cgroups

import (
	"context"
	"errors"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Config says which control group a container has.
type Config struct {
	// ID is the container's id. It names the container in errors and, where Path
	// is empty, the group.
	ID string
	// Path is linux.cgroupsPath of the runtime spec. A path of three colon
	// separated parts (slice:prefix:name) is a systemd scope.
	Path string
	// Systemd makes the systemd driver be used whatever Path looks like.
	Systemd bool
	// Resources is linux.resources of the runtime spec; nil sets no limit.
	Resources *specs.LinuxResources
}

// Group is the control group of one container. Its methods may be called concurrently.
type Group struct{}

var errTODO = errors.New("not written yet")

func New(cfg Config) (*Group, error)                          { return nil, errTODO }
func (g *Group) Dir() (*os.File, error)                       { return nil, errTODO }
func (g *Group) Add(pid int) error                            { return errTODO }
func (g *Group) Update(r *specs.LinuxResources) error         { return errTODO }
func (g *Group) Freeze() error                                { return errTODO }
func (g *Group) Thaw() error                                  { return errTODO }
func (g *Group) Pids() ([]int, error)                         { return nil, errTODO }
func (g *Group) Kill() error                                  { return errTODO }
func (g *Group) Metrics() (any, error)                        { return nil, errTODO }
func (g *Group) WatchOOM(ctx context.Context, f func()) error { return errTODO }
func (g *Group) OOMKills() (uint64, error)                    { return 0, errTODO }
func (g *Group) Delete() error                                { return errTODO }
