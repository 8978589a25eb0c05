package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	cgroup1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroup2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/api/types"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
)

// box is a container that the test drives by containerd's client.
type box struct {
	containerd.Container
	task   containerd.Task
	exit   <-chan containerd.ExitStatus
	stdout *output
	stderr *output
}

// plan says what a box shall be. Only guest must be given.
type plan struct {
	guest   string
	args    []string // after the program's name
	runtime string   // wasmRuntime if empty
	stdin   io.Reader
	spec    []oci.SpecOpts
	io      cio.Creator // FIFOs to the box's buffers if nil

	on       *containerd.Client                                                  // the tests' own containerd if nil
	snapshot func(id string, image containerd.Image) containerd.NewContainerOpts // a new one of the image if nil
	artifact bool                                                                // the image is one, so it says nothing of a process, and the snapshot is empty
	labels   map[string]string
	options  map[string]any // of the runtime: texts and truths
	task     []containerd.NewTaskOpts
}

// create makes the container and its task, which is not started. Everything is
// deleted at the test's end.
func (p plan) create(t *testing.T) *box {
	t.Helper()
	b, err := p.tryCreate(t)
	if err != nil {
		t.Fatalf("create a container of %s: %v", p.guest, err)
	}
	return b
}

func (p plan) tryCreate(t *testing.T) (*box, error) {
	t.Helper()
	return p.createWith(t, newID(t))
}

func (p plan) createWith(t *testing.T, id string) (*box, error) {
	ctx := namespaced(context.Background())
	client := cmp.Or(p.on, client)
	image, err := client.GetImage(ctx, imageName(p.guest))
	if err != nil {
		return nil, err
	}
	snapshot := containerd.WithNewSnapshot(id, image)
	if p.snapshot != nil {
		snapshot = p.snapshot(id, image)
	}
	spec := []oci.SpecOpts{oci.WithImageConfigArgs(image, p.args)}
	if p.artifact {
		spec, snapshot = []oci.SpecOpts{oci.WithProcessArgs(p.args...)}, withEmptySnapshot(id, image)
	}
	c, err := client.NewContainer(ctx, id,
		snapshot,
		containerd.WithRuntime(cmp.Or(p.runtime, wasmRuntime), p.runtimeOptions()),
		containerd.WithContainerLabels(p.labels),
		containerd.WithNewSpec(append(spec, p.spec...)...))
	if err != nil {
		return nil, err
	}
	b := &box{Container: c, stdout: &output{}, stderr: &output{}}
	t.Cleanup(func() {
		if err := b.remove(); err != nil {
			t.Errorf("remove container %s: %v", id, err)
		}
	})
	creator := p.io
	if creator == nil {
		creator = cio.NewCreator(cio.WithStreams(p.stdin, b.stdout, b.stderr))
	}
	b.task, err = c.NewTask(ctx, creator, p.task...)
	if err != nil {
		return nil, err
	}
	b.exit, err = b.task.Wait(ctx)
	return b, err
}

// withEmptySnapshot is what CRI gives a container of an artifact.
func withEmptySnapshot(id string, image containerd.Image) containerd.NewContainerOpts {
	return func(ctx context.Context, client *containerd.Client, c *containers.Container) error {
		c.Image, c.Snapshotter, c.SnapshotKey = image.Name(), defaults.DefaultSnapshotter, id
		_, err := client.SnapshotService(c.Snapshotter).Prepare(ctx, id, "")
		return err
	}
}

// runtimeOptions are the options as an administrator's table.
func (p plan) runtimeOptions() any {
	if len(p.options) == 0 {
		return nil
	}
	return &runtimeoptions.Options{ConfigBody: p.table()}
}

func (p plan) table() (table []byte) {
	for key, value := range p.options {
		table = fmt.Appendf(table, "%s = %#v\n", key, value)
	}
	return table
}

// start creates the container and starts it.
func (p plan) start(t *testing.T) *box {
	t.Helper()
	b := p.create(t)
	if err := b.task.Start(namespaced(t.Context())); err != nil {
		t.Fatalf("start %s: %v", b.ID(), err)
	}
	return b
}

// remove ends the task if there is one and deletes what there is. It may be
// called again.
func (b *box) remove() error {
	ctx, cancel := context.WithTimeout(namespaced(context.Background()), scaled(30*time.Second))
	defer cancel()
	var errs []error
	if b.task != nil {
		_, err := b.task.Delete(ctx, containerd.WithProcessKill)
		// containerd tells of the end of a killed shim's task a moment before it
		// forgets the shim.
		for err != nil && strings.Contains(err.Error(), "ttrpc: closed") && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
			_, err = b.task.Delete(ctx, containerd.WithProcessKill)
		}
		if errdefs.IsNotFound(err) {
			// Deleted already, so that the client did not get to its FIFOs.
			b.task.IO().Cancel()
			err = b.task.IO().Close()
		}
		errs = append(errs, err)
		b.task = nil
	}
	if err := b.Delete(ctx, containerd.WithSnapshotCleanup); !errdefs.IsNotFound(err) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// wait waits for the task's exit.
func (b *box) wait(t *testing.T) containerd.ExitStatus {
	t.Helper()
	select {
	case status := <-b.exit:
		if err := status.Error(); err != nil {
			t.Fatalf("wait for %s: %v", b.ID(), err)
		}
		return status
	case <-time.After(scaled(60 * time.Second)):
		t.Fatalf("%s does not end; stdout %q, stderr %q", b.ID(), b.stdout, b.stderr)
		panic("unreachable")
	}
}

// waitCode waits for the task's exit, which shall have that code.
func (b *box) waitCode(t *testing.T, code uint32) containerd.ExitStatus {
	t.Helper()
	status := b.wait(t)
	if status.ExitCode() != code {
		b.task.IO().Wait()
		t.Fatalf("%s ended with %d, not %d; stdout %q, stderr %q", b.ID(), status.ExitCode(), code, b.stdout, b.stderr)
	}
	return status
}

func (b *box) kill(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := b.task.Kill(namespaced(t.Context()), signal); err != nil {
		t.Fatalf("kill %s: %v", b.ID(), err)
	}
}

// status is the task's state as containerd says it.
func (b *box) status(t *testing.T) containerd.ProcessStatus {
	t.Helper()
	status, err := b.task.Status(namespaced(t.Context()))
	if err != nil {
		t.Fatalf("state of %s: %v", b.ID(), err)
	}
	return status.Status
}

// usage is what the tests look at in a task's metrics, of either version of
// control groups.
type usage struct {
	at          time.Time
	cpu         time.Duration
	memory      uint64 // bytes
	memoryLimit uint64 // bytes
	pids        uint64
	pidsLimit   uint64
}

func (b *box) usage(t *testing.T) usage {
	t.Helper()
	metric, err := b.task.Metrics(namespaced(t.Context()))
	if err != nil {
		t.Fatalf("metrics of %s: %v", b.ID(), err)
	}
	return readUsage(t, metric)
}

func readUsage(t *testing.T, metric *types.Metric) usage {
	t.Helper()
	data, err := typeurl.UnmarshalAny(metric.Data)
	if err != nil {
		t.Fatalf("metrics: %v", err)
	}
	u := usage{at: metric.Timestamp.AsTime()}
	switch m := data.(type) {
	case *cgroup1.Metrics:
		u.cpu = time.Duration(m.GetCPU().GetUsage().GetTotal())
		u.memory, u.memoryLimit = m.GetMemory().GetUsage().GetUsage(), m.GetMemory().GetUsage().GetLimit()
		u.pids, u.pidsLimit = m.GetPids().GetCurrent(), m.GetPids().GetLimit()
	case *cgroup2.Metrics:
		u.cpu = time.Duration(m.GetCPU().GetUsageUsec()) * time.Microsecond
		u.memory, u.memoryLimit = m.GetMemory().GetUsage(), m.GetMemory().GetUsageLimit()
		u.pids, u.pidsLimit = m.GetPids().GetCurrent(), m.GetPids().GetLimit()
	default:
		t.Fatalf("metrics are %T, which neither CRI nor Docker reads", data)
	}
	return u
}

// output is a buffer that may be read while it grows.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// waitFor waits until the guest has written that text.
func (o *output) waitFor(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the guest writes "+text, func() bool { return strings.Contains(o.String(), text) })
}

// eventually waits until a condition holds, or fails the test.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(scaled(20 * time.Second))
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
