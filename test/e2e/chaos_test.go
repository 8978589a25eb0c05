package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
)

// engineRole is containerd as a victim, besides the roles of our own processes.
const engineRole role = "containerd"

// TestChaos takes containers through their life, one after another, and kills a
// process at a random moment of each: the shim, the action start that brings it
// up, the sandbox process, or containerd, which is started again. Whatever
// happened, containerd can delete what there is, nothing is left, and all who
// tell the exit status tell the same one, the guest's own if anybody knew it.
//
//	CHAOS_CYCLES  how many in which somebody was there to be killed; 25 if not given
//	CHAOS_VICTIM  who dies: shim, start, sandbox or containerd; all in turn if not given
//	CHAOS_SEED    the seed of a run that is to be repeated, as far as time allows
func TestChaos(t *testing.T) {
	leavesNothing(t)
	cycles, seed := 25, time.Now().UnixNano()
	if emulated {
		cycles = 6
	}
	for name, set := range map[string]func(int64){
		"CHAOS_CYCLES": func(n int64) { cycles = int(n) },
		"CHAOS_SEED":   func(n int64) { seed = n },
	} {
		if value := os.Getenv(name); value != "" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			set(n)
		}
	}
	t.Logf("CHAOS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))

	s := newSpare(t, 0, "count")
	exits := watchExits(t, s.client)
	calm := &cycle{spare: s, exits: exits, id: newID(t), ends: true}
	begin := time.Now()
	calm.run(t)
	span := time.Since(begin)

	done := []*cycle{calm}
	outcomes := map[string]int{}
	begin = time.Now()
	for kills := 0; kills < cycles; {
		if len(done) > 4*cycles {
			t.Fatalf("only %d of %d cycles had somebody to kill", kills, len(done))
		}
		c := newCycle(random, span)
		c.spare, c.exits, c.id = s, exits, newID(t)
		c.run(t)
		if t.Failed() {
			t.Fatalf("the cycle after %d kills failed", kills)
		}
		done = append(done, c)
		outcomes[c.outcome()]++
		if !c.hit {
			continue
		}
		kills++
		if kills%100 == 0 {
			t.Logf("%d kills of %d after %v", kills, cycles, time.Since(begin).Round(time.Second))
		}
	}
	each := time.Since(begin) / time.Duration(len(done))
	last := &cycle{spare: s, exits: exits, id: newID(t), ends: true}
	last.run(t)
	s.leftNothing(t, nil)
	done = append(done, last)
	// The shim tells a containerd that was away of an exit when it is back.
	for _, c := range done {
		c.judge(t)
	}
	for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%4d %s", outcomes[outcome], outcome)
	}
	t.Logf("%d cycles, %v each", len(done), each.Round(time.Millisecond))
}

// cycle is the life of one container, which a process does not survive.
type cycle struct {
	spare *spare
	exits *exitWatch
	id    string

	victim role
	late   bool          // the kill is timed from the guest's start and not from the cycle's begin
	delay  time.Duration // of the kill
	ends   bool          // the guest ends by itself, with ownCode
	hold   time.Duration // how long it runs: until then it writes, or is killed
	signal syscall.Signal
	pause  time.Duration // until containerd is started again

	hit bool // the victim was there to be killed

	starting chan struct{} // closed when Start is called
	started  bool          // Start was called
	heard    bool          // and was answered
	cut      bool          // the guest was killed by us although it would have ended
	box      *box
	err      error             // why the client gave up
	statuses map[string]uint32 // of the exit, by the call that told it
}

// ownCode is the exit code of guests that end by themselves.
const ownCode = 7

// mixed is how often who dies.
var mixed = []role{
	daemonRun, daemonRun, daemonRun,
	guestRun, guestRun, guestRun,
	engineRole, engineRole, engineRole,
	starter,
}

func newCycle(random *rand.Rand, span time.Duration) *cycle {
	victims := []role{role(os.Getenv("CHAOS_VICTIM"))}
	if victims[0] == "" {
		victims = mixed
	}
	signals := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	c := &cycle{
		victim: victims[random.IntN(len(victims))],
		late:   random.IntN(2) == 0,
		delay:  upTo(span),
		ends:   random.IntN(2) == 0,
		hold:   upTo(span / 4),
		signal: signals[random.IntN(len(signals))],
		pause:  upTo(span),
	}
	switch {
	case c.victim == starter: // which does not live long
		c.delay = upTo(span / 8)
	case c.late:
		c.delay = upTo(c.hold + span/8)
	}
	return c
}

func (c *cycle) String() string {
	guest := fmt.Sprintf("killed by %d after %v", c.signal, c.hold.Round(time.Millisecond))
	if c.ends {
		guest = fmt.Sprintf("ends after %v", c.hold.Round(time.Millisecond))
	}
	from := "the begin"
	if c.late {
		from = "start"
	}
	return fmt.Sprintf("%s: %s dies %v after %s, guest %s", c.id, c.victim, c.delay.Round(time.Millisecond), from, guest)
}

// run lives the cycle and cleans up after it.
func (c *cycle) run(t *testing.T) {
	defer func() {
		if t.Failed() {
			t.Log(c)
		}
	}()
	c.statuses, c.starting = map[string]uint32{}, make(chan struct{})
	over := make(chan struct{})
	var struck sync.WaitGroup
	if c.victim != "" {
		struck.Go(func() { c.strike(over) })
	}
	ctx, cancel := context.WithTimeout(namespaced(t.Context()), scaled(60*time.Second))
	defer cancel()
	c.err = c.live(ctx, t)
	close(over)
	struck.Wait()
	if c.victim == engineRole && c.hit {
		eventually(t, "containerd ends", func() bool { return !c.spare.Alive() })
		time.Sleep(c.pause)
		c.spare.rise(t)
		c.exits.listen(t, c.spare.client)
		c.finishRemoval(t)
	}
	c.settle(t)
	c.spare.leftNothing(t, c.mayLinger)
	c.judge(t)
}

// mayLinger says of a leftover that it goes with the next container's: the
// socket of a shim that died before containerd had connected to it.
func (c *cycle) mayLinger(line string) bool {
	return c.hit && !c.started && (c.victim == daemonRun || c.victim == starter) &&
		strings.HasPrefix(line, "file /run/containerd/s/")
}

// finishRemoval removes the folders that containerd had hidden to remove them
// when it died; it does not come back to them.
func (c *cycle) finishRemoval(t *testing.T) {
	for _, dir := range []string{c.spare.State(), c.spare.Root()} {
		if err := os.RemoveAll(filepath.Join(dir, "io.containerd.runtime.v2.task", c.spare.Namespace, "."+c.id)); err != nil {
			t.Error(err)
		}
	}
}

// strike kills the victim after the delay, or as soon as it is there.
func (c *cycle) strike(over <-chan struct{}) {
	if c.late && c.victim != starter {
		select {
		case <-c.starting:
		case <-over:
			return
		}
	}
	time.Sleep(c.delay)
	for ; ; time.Sleep(time.Millisecond) {
		pids := []int{c.spare.Pid()}
		if c.victim != engineRole {
			pids = ours(c.victim)
		}
		for _, pid := range pids {
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				c.hit = true
				return
			}
		}
		select {
		case <-over:
			return
		default:
		}
	}
}

// live is what a client does until something goes wrong.
func (c *cycle) live(ctx context.Context, t *testing.T) error {
	lines, end := "-1", "0"
	if c.ends {
		// A line takes about a millisecond.
		lines, end = strconv.Itoa(int(c.hold.Milliseconds())+1), strconv.Itoa(ownCode)
	}
	var err error
	c.box, err = plan{on: c.spare.client, guest: "count", args: []string{lines, "500", end}}.createWith(t, c.id)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	c.started = true
	close(c.starting)
	if err := c.box.task.Start(ctx); err != nil {
		return fmt.Errorf("start: %w", err) // and the client has closed its FIFOs
	}
	c.heard = true
	if !c.ends {
		time.Sleep(c.hold)
		if err := c.box.task.Kill(ctx, c.signal); err != nil {
			return fmt.Errorf("kill: %w", err)
		}
	}
	select {
	case status := <-c.box.exit:
		if err := status.Error(); err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		c.statuses["wait"] = status.ExitCode()
	case <-ctx.Done():
		t.Error("the guest does not end")
		return ctx.Err()
	}
	status, err := c.box.task.Delete(ctx)
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	c.statuses["delete"] = status.ExitCode()
	return nil
}

// settle deletes what there is, as a client does that comes to an engine it does
// not know the state of.
func (c *cycle) settle(t *testing.T) {
	ctx, cancel := context.WithTimeout(namespaced(t.Context()), scaled(60*time.Second))
	defer cancel()
	container, err := c.spare.client.LoadContainer(ctx, c.id)
	switch {
	case errdefs.IsNotFound(err):
		if err := c.spare.client.SnapshotService("").Remove(ctx, c.id); err != nil && !errdefs.IsNotFound(err) {
			t.Errorf("remove the snapshot: %v", err)
		}
		return
	case err != nil:
		t.Fatalf("load the container: %v", err)
	}
	deadline := time.Now().Add(scaled(15 * time.Second))
	for {
		err := c.deleteTask(ctx, t, container)
		if err == nil || errdefs.IsNotFound(err) {
			break
		}
		// containerd needs a moment to see that a shim has died.
		if time.Now().After(deadline) {
			t.Fatalf("the task cannot be deleted: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if c.box != nil && c.box.task != nil {
		io := c.box.task.IO()
		// Cancel would throw away what the client has not read yet. It is for the
		// FIFOs of a task that never came to be, whose end never comes either.
		giveUp := time.AfterFunc(scaled(2*time.Second), io.Cancel)
		io.Wait()
		giveUp.Stop()
		if told := slices.Collect(maps.Values(c.statuses)); c.ends && c.heard && slices.Contains(told, ownCode) {
			wantLines(t, c.box, int(c.hold.Milliseconds())+1)
		}
		if err := io.Close(); err != nil {
			t.Errorf("close the client's FIFOs: %v", err)
		}
		c.box.task = nil
	}
	if err := container.Delete(ctx, containerd.WithSnapshotCleanup); err != nil {
		t.Errorf("delete the container: %v", err)
	}
}

// deleteTask ends the task if it does not end by itself, and deletes it.
func (c *cycle) deleteTask(ctx context.Context, t *testing.T, container containerd.Container) error {
	task, err := container.Task(ctx, nil)
	if err != nil {
		return err
	}
	status, err := task.Status(ctx)
	if err != nil {
		return err
	}
	switch {
	case status.Status == containerd.Created, status.Status == containerd.Running && !c.ends:
		c.cut = true
		// Not found is also what has just ended.
		if err := task.Kill(ctx, syscall.SIGKILL); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	case status.Status == containerd.Running, status.Status == containerd.Stopped:
	default:
		t.Fatalf("the task is %s", status.Status)
	}
	exit, err := task.Wait(ctx)
	if err != nil {
		return err
	}
	ended := <-exit
	if ended.Error() != nil {
		return ended.Error()
	}
	c.statuses["wait after"] = ended.ExitCode()
	r, err := c.spare.client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.id})
	if err != nil {
		return errgrpc.ToNative(err)
	}
	c.statuses["delete after"] = r.ExitStatus
	return nil
}

// judge looks at what was told of the exit.
func (c *cycle) judge(t *testing.T) {
	// With no box it was containerd's snapshotter, which may stumble over what it
	// left when it was killed.
	if !c.hit && c.err != nil && c.box != nil {
		t.Errorf("%s: nobody was killed, and yet: %v", c, c.err)
	}
	told := maps.Clone(c.statuses)
	for i, status := range c.exits.of(c.id) {
		told[fmt.Sprintf("event %d", i+1)] = status
	}
	natural := 128 + uint32(c.signal)
	if c.ends {
		natural = ownCode
	}
	// Of a guest that was killed with its shim, or by it, or never ran.
	killed := c.hit && c.victim != engineRole || c.cut || !c.started
	different := map[uint32]bool{}
	for by, status := range told {
		different[status] = true
		if status != natural && (status != 137 || !killed) {
			t.Errorf("%s: status %d, told by %s, is neither the guest's nor that of a kill; all that was told: %v", c, status, by, told)
		}
	}
	if len(different) > 1 {
		t.Errorf("%s: different exit statuses were told: %v", c, told)
	}
}

// outcome sorts the cycle for the statistics.
func (c *cycle) outcome() string {
	what := "no exit was told"
	for _, status := range c.statuses {
		what = fmt.Sprintf("exit %d", status)
	}
	if len(c.statuses) == 0 {
		for _, status := range c.exits.of(c.id) {
			what = fmt.Sprintf("exit %d, by event alone", status)
		}
	}
	switch {
	case !c.hit:
		return fmt.Sprintf("%s was to be killed, too late: %s", c.victim, what)
	case c.started:
		return fmt.Sprintf("%s killed after start: %s", c.victim, what)
	default:
		return fmt.Sprintf("%s killed before start: %s", c.victim, what)
	}
}
