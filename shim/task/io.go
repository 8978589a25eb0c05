package task

import (
	"context"
	"fmt"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/emptypb"
)

// CloseIO lets go of the shim's end of a process's standard input: the process
// sees the end of it as soon as nobody else can write to it.
func (s *wasm) CloseIO(_ context.Context, r *taskAPI.CloseIORequest) (*emptypb.Empty, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if r.Stdin {
		c.mu.Lock()
		defer c.mu.Unlock()
		p.noInput = true
		p.stdio.closeStdin()
	}
	return &emptypb.Empty{}, nil
}

// ResizePty sets the size of a process's terminal. Without a terminal there is
// nothing to do, and a process that is yet to be started has its terminal of that
// size from the beginning.
func (s *wasm) ResizePty(_ context.Context, r *taskAPI.ResizePtyRequest) (*emptypb.Empty, error) {
	c, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !p.streams.terminal {
		return &emptypb.Empty{}, nil
	}
	if !p.state.alive() {
		return nil, p.refuse("given another size of its terminal")
	}
	size := specs.Box{Width: uint(r.Width), Height: uint(r.Height)}
	if p.stdio == nil {
		p.size = &size
		return &emptypb.Empty{}, nil
	}
	if err := p.stdio.resize(size); err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return &emptypb.Empty{}, nil
}
