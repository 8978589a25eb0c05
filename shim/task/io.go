package task

import (
	"context"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"google.golang.org/protobuf/types/known/emptypb"
)

// CloseIO lets go of the shim's end of a process's standard input: the process
// sees the end of it as soon as nobody else can write to it.
func (s *service) CloseIO(_ context.Context, r *taskAPI.CloseIORequest) (*emptypb.Empty, error) {
	_, p, err := s.process(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if r.Stdin {
		p.stdio.closeStdin()
	}
	return &emptypb.Empty{}, nil
}

// ResizePty has nothing to do for a process without a terminal.
func (s *service) ResizePty(_ context.Context, r *taskAPI.ResizePtyRequest) (*emptypb.Empty, error) {
	if _, _, err := s.process(r.ID, r.ExecID); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
