package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// installer is what the commands share.
type installer struct {
	host     host
	distro   distribution
	engine   *engine
	record   *record
	cluster  *cluster // nil outside of Kubernetes
	programs string   // folder of the programs in this image
	timeout  time.Duration
	out      io.Writer // what is done is told there
}

// tell says on a line of its own what has been done.
func (i *installer) tell(format string, args ...any) { fmt.Fprintf(i.out, format+"\n", args...) }

// install brings the node to the state that is wanted, from whatever there is,
// and changes nothing where that is so already. What fails is undone.
func (i *installer) install(ctx context.Context) error {
	version, major, err := i.engine.release(ctx)
	if err != nil {
		return err
	}
	i.tell("the node has containerd %s of %s, configured by %s", version, i.distro.name, i.distro.config)
	fresh := len(i.record.Changes) == 0
	changed, err := i.change(ctx, major)
	read := false // whether containerd may have read the change
	if err == nil {
		read = changed
		err = i.settle(ctx, changed, true)
	}
	if err != nil && fresh {
		i.tell("it is undone, because: %v", err)
		undoing := i.record.undo(all)
		if undoing == nil && read {
			undoing = i.settle(context.WithoutCancel(ctx), true, false)
		}
		return errors.Join(err, undoing)
	}
	if err != nil {
		return err
	}
	if err := i.cluster.setLabel(ctx, true); err != nil {
		return err
	}
	i.tell("installed: containerd has the runtime %s", handler)
	return nil
}

// change makes what is to be on the node, and says whether containerd's
// configuration is another one now.
func (i *installer) change(ctx context.Context, major int) (configured bool, err error) {
	edit, configuration, err := plan(i.host, i.distro, i.record, major)
	if err != nil {
		return false, err
	}
	if err := edit.check(i.host); err != nil {
		return false, err
	}
	if err := claimCache(i.record); err != nil {
		return false, err
	}
	folder := filepath.Join(configuration.opt(), "bin")
	copied, err := copyPrograms(ctx, i.record, i.programs, folder)
	if err != nil {
		return false, err
	}
	if copied {
		i.tell("%s are in %s", strings.Join(programs, " and "), folder)
	}
	configured, err = edit.apply(i.record)
	if err != nil {
		return configured, err
	}
	switch {
	case edit.path == "":
		i.tell("the runtime is in the configuration already, by hand")
	case configured:
		i.tell("the runtime is in %s", edit.path)
	}
	return configured, dump(ctx, i.host, i.distro)
}

// settle has containerd read its configuration, if it has changed or containerd
// says another thing, and waits until it has or has not the runtime.
func (i *installer) settle(ctx context.Context, changed, wanted bool) error {
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	names, err := i.engine.handlers(ctx)
	if err == nil && !changed && slices.Contains(names, handler) == wanted {
		return nil
	}
	if i.distro.managed != nil && i.distro.managed(i.host) {
		i.tell("waiting until %s has started containerd again", i.distro.name)
		return i.engine.waitFor(ctx, wanted)
	}
	done, err := restart(ctx, i.host, i.distro)
	if err != nil {
		return err
	}
	if done {
		i.tell("systemd has started containerd again")
	} else {
		i.tell("there is no systemd on the node: start %s again now; waiting up to %v until its containerd has read its configuration", i.distro.name, i.timeout)
	}
	return i.engine.waitFor(ctx, wanted)
}

func all(change) bool { return true }

// uninstall takes the runtime away again: first from the scheduler, then from
// containerd, at last the programs, which must not be in use.
func (i *installer) uninstall(ctx context.Context) error {
	if err := i.cluster.setLabel(ctx, false); err != nil {
		return err
	}
	if len(i.record.Changes) == 0 {
		i.tell("nothing is installed on the node")
		return nil
	}
	pids, err := inUse(i.host)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return fmt.Errorf("%d pods or containers on the node use the runtime (the shims are the processes %s); delete them, then uninstall again: the node takes no new ones", len(pids), strings.Trim(fmt.Sprint(pids), "[]"))
	}
	configured := slices.ContainsFunc(i.record.Changes, func(c change) bool { return c.Config })
	if err := i.record.undo(func(c change) bool { return c.Config }); err != nil {
		return err
	}
	if err := i.settle(ctx, configured, false); err != nil {
		return err
	}
	if err := i.record.undo(all); err != nil {
		return err
	}
	i.tell("uninstalled: the node is as it was")
	return nil
}
