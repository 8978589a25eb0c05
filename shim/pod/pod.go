// Package pod serves containerd's Sandbox API: pods that need no pause container
// and no image for one, because the shim itself starts a process that holds their
// namespaces (`sandboxer = "shim"` in CRI's configuration of a runtime).
//
// What CRI does for a pod with a pause container and leaves to the shim here: the
// namespaces but the network's, the pod's cgroup, /dev/shm, and the files
// hostname, hosts and resolv.conf below /etc.
package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/cgroups"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/sandbox"
	"github.com/containerd-shim-wasm/containerd-shim-wasm/shim/bundle"
	sandboxAPI "github.com/containerd/containerd/api/runtime/sandbox/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"
)

// States of a sandbox, as CRI spells them.
const (
	ready    = "SANDBOX_READY"
	notReady = "SANDBOX_NOTREADY"
)

// killTimeout is how long a killed process may take to be gone.
const killTimeout = 10 * time.Second

// answerTime is how long the answer to ShutdownSandbox may take to be out, which a
// shim that has ended by then would not give; containerd takes that for a failure.
const answerTime = 100 * time.Millisecond

// Service is the Sandbox service of one shim, which has one pod at most. Its
// methods return errors of errdefs.
type Service struct {
	systemd bool
	exits   Exits
	idle    func()

	mu  sync.Mutex
	pod *pod // nil where there is none
}

// Exits is where the end of a child is learned of.
type Exits interface {
	// Watch is called before a fork; claim, with the child's pid, returns a channel
	// on which its exit comes once it has been reaped, and end is called once no
	// claim will be made any more.
	Watch() (claim func(pid int) <-chan runc.Exit, end func())
}

// New returns the service. Scopes of systemd are made where systemd says so, and
// idle is called when the pod is no more, which the shim may wait for to end.
func New(systemd bool, exits Exits, idle func()) *Service {
	return &Service{systemd: systemd, exits: exits, idle: idle}
}

var _ sandboxAPI.TTRPCSandboxService = (*Service)(nil)

// pod is what there is of a pod.
type pod struct {
	id     string
	bundle string
	plan   *plan
	group  *cgroups.Group

	// mu guards what follows.
	mu        sync.Mutex
	process   *sandbox.Process // nil until it is started
	createdAt time.Time
	exitedAt  time.Time
	// ended is closed once the process has been reaped, or never will be started.
	ended chan struct{}
	// released says that nothing is left of what the pod has had.
	released bool
}

// CreateSandbox makes what the pod's containers will find, and no process yet.
func (s *Service) CreateSandbox(ctx context.Context, r *sandboxAPI.CreateSandboxRequest) (_ *sandboxAPI.CreateSandboxResponse, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pod != nil {
		return nil, fmt.Errorf("sandbox %q: this shim already has sandbox %q: %w", r.SandboxID, s.pod.id, errdefs.ErrAlreadyExists)
	}
	p := &pod{id: r.SandboxID, bundle: r.BundlePath, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = fmt.Errorf("sandbox %q: %w", r.SandboxID, err)
			if left := p.removeFiles(); left != nil {
				log.G(ctx).WithError(left).Warn("failed creation of a sandbox not undone in full")
			}
		}
	}()
	if p.plan, err = planOf(r); err != nil {
		return nil, err
	}
	state := bundle.State{ID: p.id, CgroupPath: p.plan.cgroupPath, SystemdCgroup: s.systemd}
	if p.group, err = cgroups.New(cgroups.Config{ID: p.id, Path: p.plan.cgroupPath, Systemd: s.systemd}); err != nil {
		return nil, err
	}
	if err := bundle.Write(p.bundle, state); err != nil {
		return nil, err
	}
	if err := p.makeFiles(); err != nil {
		return nil, err
	}
	s.pod = p
	return &sandboxAPI.CreateSandboxResponse{}, nil
}

// StartSandbox starts the process that holds the pod's namespaces.
func (s *Service) StartSandbox(ctx context.Context, r *sandboxAPI.StartSandboxRequest) (*sandboxAPI.StartSandboxResponse, error) {
	p, err := s.find(r.SandboxID)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil || !p.exitedAt.IsZero() {
		return nil, fmt.Errorf("sandbox %q has been started before: %w", p.id, errdefs.ErrFailedPrecondition)
	}
	if err := s.start(ctx, p); err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.id, err)
	}
	log.G(ctx).WithFields(log.Fields{"sandbox": p.id, "pid": p.process.Pid()}).Info("pod started")
	return &sandboxAPI.StartSandboxResponse{Pid: uint32(p.process.Pid()), CreatedAt: protobuf.ToTimestamp(p.createdAt)}, nil
}

// start starts p's process; p.mu is held.
func (s *Service) start(ctx context.Context, p *pod) error {
	dir, err := p.group.Dir()
	if err != nil {
		return err
	}
	if dir != nil {
		defer dir.Close()
	}
	spec, done, err := p.plan.spec()
	if err != nil {
		return err
	}
	defer done()
	claim, end := s.exits.Watch()
	defer end()
	var exited <-chan runc.Exit
	process, err := sandbox.Hold(ctx, sandbox.PodConfig{Spec: spec, CgroupDir: dir, Joined: func(pid int) error {
		exited = claim(pid)
		return p.group.Add(pid)
	}})
	if err != nil {
		if exited != nil {
			<-exited
		}
		return err
	}
	p.process, p.createdAt = process, time.Now()
	go p.watch(exited)
	state := bundle.State{ID: p.id, Pid: process.Pid(), CgroupPath: p.plan.cgroupPath, SystemdCgroup: s.systemd}
	return bundle.Write(p.bundle, state)
}

// watch waits for the end of the pod's process.
func (p *pod) watch(exited <-chan runc.Exit) {
	<-exited
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.process.Close()
	p.exitedAt = time.Now()
	close(p.ended)
}

// Platform is Linux's: the runtime specs of the pod's containers are.
func (s *Service) Platform(_ context.Context, r *sandboxAPI.PlatformRequest) (*sandboxAPI.PlatformResponse, error) {
	if _, err := s.find(r.SandboxID); err != nil {
		return nil, err
	}
	return &sandboxAPI.PlatformResponse{Platform: &types.Platform{OS: "linux", Architecture: runtime.GOARCH}}, nil
}

// StopSandbox ends the pod's process. The containers are ended before, by who
// created them. One that has ended, or was never started, is stopped.
func (s *Service) StopSandbox(ctx context.Context, r *sandboxAPI.StopSandboxRequest) (*sandboxAPI.StopSandboxResponse, error) {
	p, err := s.find(r.SandboxID)
	if err != nil {
		return nil, err
	}
	if err := p.stop(ctx); err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.id, err)
	}
	return &sandboxAPI.StopSandboxResponse{}, nil
}

func (p *pod) stop(ctx context.Context) error {
	p.mu.Lock()
	process := p.process
	if process == nil && p.exitedAt.IsZero() {
		p.exitedAt = time.Now()
		close(p.ended)
	}
	p.mu.Unlock()
	if process != nil {
		// A pod that shares its pid namespace takes all that is in it along.
		if err := process.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(killTimeout):
		return fmt.Errorf("its process was killed but has not ended in %s: %w", killTimeout, errdefs.ErrUnavailable)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil
	}
	if err := errors.Join(p.group.Delete(), p.removeFiles()); err != nil {
		return err // the bundle's state tells the shim's delete what is left
	}
	p.released = true
	return bundle.Remove(p.bundle)
}

// WaitSandbox blocks until the pod's process has ended.
func (s *Service) WaitSandbox(ctx context.Context, r *sandboxAPI.WaitSandboxRequest) (*sandboxAPI.WaitSandboxResponse, error) {
	p, err := s.find(r.SandboxID)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return nil, fmt.Errorf("sandbox %q has not ended: %w", p.id, context.Cause(ctx))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &sandboxAPI.WaitSandboxResponse{ExitStatus: 128 + uint32(unix.SIGKILL), ExitedAt: protobuf.ToTimestamp(p.exitedAt)}, nil
}

// SandboxStatus describes the pod.
func (s *Service) SandboxStatus(_ context.Context, r *sandboxAPI.SandboxStatusRequest) (*sandboxAPI.SandboxStatusResponse, error) {
	p, err := s.find(r.SandboxID)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	status := &sandboxAPI.SandboxStatusResponse{SandboxID: p.id, State: notReady}
	if p.process != nil {
		status.Pid, status.CreatedAt = uint32(p.process.Pid()), protobuf.ToTimestamp(p.createdAt)
	}
	if r.Verbose {
		// What CRI shows of a pod, as JSON (SandboxInfo of its podsandbox controller).
		status.Info = map[string]string{"info": fmt.Sprintf(`{"pid":%d}`, status.Pid)}
	}
	switch {
	case !p.exitedAt.IsZero():
		status.ExitedAt = protobuf.ToTimestamp(p.exitedAt)
	case p.process != nil:
		status.State = ready
	}
	return status, nil
}

// PingSandbox answers if the pod is there.
func (s *Service) PingSandbox(_ context.Context, r *sandboxAPI.PingRequest) (*sandboxAPI.PingResponse, error) {
	if _, err := s.find(r.SandboxID); err != nil {
		return nil, err
	}
	return &sandboxAPI.PingResponse{}, nil
}

// ShutdownSandbox ends the pod, and the shim once no container is left. It is also
// called after a creation that failed.
func (s *Service) ShutdownSandbox(ctx context.Context, r *sandboxAPI.ShutdownSandboxRequest) (*sandboxAPI.ShutdownSandboxResponse, error) {
	s.mu.Lock()
	p := s.pod
	s.mu.Unlock()
	if p != nil && p.id == r.SandboxID {
		if err := p.stop(ctx); err != nil {
			return nil, fmt.Errorf("sandbox %q: %w", p.id, err)
		}
		s.mu.Lock()
		s.pod = nil
		s.mu.Unlock()
	}
	time.AfterFunc(answerTime, s.idle)
	return &sandboxAPI.ShutdownSandboxResponse{}, nil
}

// SandboxMetrics measures the whole pod: the cgroup that Kubernetes has made for
// it, in which the containers' cgroups are.
func (s *Service) SandboxMetrics(_ context.Context, r *sandboxAPI.SandboxMetricsRequest) (*sandboxAPI.SandboxMetricsResponse, error) {
	p, err := s.find(r.SandboxID)
	if err != nil {
		return nil, err
	}
	metrics, err := p.group.ParentMetrics()
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.id, err)
	}
	data, err := typeurl.MarshalAnyToProto(metrics)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.id, err)
	}
	return &sandboxAPI.SandboxMetricsResponse{Metrics: &types.Metric{
		Timestamp: protobuf.ToTimestamp(time.Now()), ID: p.id, Data: data,
	}}, nil
}

// UpdateSandbox takes note of new resources of the pod, which the kubelet writes
// to the pod's cgroup itself; the process that is this pod's alone has no limits.
func (s *Service) UpdateSandbox(_ context.Context, r *sandboxAPI.UpdateSandboxRequest) (*sandboxAPI.UpdateSandboxResponse, error) {
	if _, err := s.find(r.SandboxID); err != nil {
		return nil, err
	}
	return &sandboxAPI.UpdateSandboxResponse{}, nil
}

func (s *Service) find(id string) (*pod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pod == nil || s.pod.id != id {
		return nil, fmt.Errorf("sandbox %q: %w", id, errdefs.ErrNotFound)
	}
	return s.pod, nil
}

// Pid is that of the process of the pod id, 0 where there is none.
func (s *Service) Pid(id string) int {
	p, err := s.find(id)
	if err != nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return 0
	}
	return p.process.Pid()
}

// Exists reports whether the shim has a pod, and must stay for it.
func (s *Service) Exists() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pod != nil
}

// shmDir is where the pod's /dev/shm is, in its bundle.
func shmDir(dir string) string { return filepath.Join(dir, "shm") }

// Unmount removes what a pod's shim has mounted in the bundle at dir. It is for
// `delete`; a bundle without mounts is no error.
func Unmount(dir string) error { return mount.UnmountRecursive(shmDir(dir), unix.MNT_DETACH) }
