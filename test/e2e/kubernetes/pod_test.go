package kubernetes

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

// pod is one in the cluster.
type pod struct{ name string }

// newPod makes a pod of a runtime class from the lines below its spec, in YAML, and
// deletes it with the test. Its name is CLASS-NAME.
func newPod(t *testing.T, class, name, spec string) pod {
	t.Helper()
	name = class + "-" + name
	p := pod{name}
	kubectlIn(t, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: {app: %s}, annotations: {note: seen}}\nspec:\n  runtimeClassName: %s\n%s", name, name, class, indented(spec)), "create", "-f", "-")
	t.Cleanup(func() {
		if t.Failed() {
			text, err := tryKubectl(t, "", "describe", "pod", name)
			t.Log(text, err)
		}
		p.delete(t)
	})
	return p
}

// indented puts a block of YAML two columns to the right, without its tabs.
func indented(block string) string {
	var lines []string
	for line := range strings.Lines(strings.TrimLeft(block, "\n")) {
		lines = append(lines, "  "+strings.TrimLeft(line, "\t"))
	}
	return strings.Join(lines, "")
}

// delete deletes the pod, unless it is gone already, and returns how long that took:
// far less than the 30 s of its grace period, at the end of which it would be killed.
func (p pod) delete(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	kubectl(t, "delete", "pod", p.name, "--ignore-not-found")
	took := time.Since(began)
	if took > 20*time.Second {
		t.Errorf("deleting pod %s took %.1f s", p.name, took.Seconds())
	}
	return took
}

// status is what the tests read of a pod's.
type status struct {
	Metadata struct{ UID string }
	Status   struct {
		Phase, PodIP, QosClass, Reason           string
		Conditions                               []struct{ Type, Status string }
		InitContainerStatuses, ContainerStatuses []containerStatus
		EphemeralContainerStatuses               []containerStatus
	}
}

type containerStatus struct {
	Name, ContainerID string
	Ready, Started    bool
	RestartCount      int
	State, LastState  struct {
		Running    *struct{}
		Waiting    *struct{ Reason, Message string }
		Terminated *struct {
			ExitCode        int
			Reason, Message string
			Signal          int
		}
	}
	Resources struct{ Requests, Limits map[string]string }
}

func (p pod) status(t testing.TB) status {
	t.Helper()
	var s status
	if err := json.Unmarshal([]byte(kubectl(t, "get", "pod", p.name, "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// container is the status of one of the pod's containers, of any kind.
func (s status) container(name string) containerStatus {
	for _, c := range slices.Concat(s.Status.InitContainerStatuses, s.Status.ContainerStatuses, s.Status.EphemeralContainerStatuses) {
		if c.Name == name {
			return c
		}
	}
	return containerStatus{}
}

// until waits until the pod's status is as wanted.
func (p pod) until(t testing.TB, what string, is func(status) bool) status {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		s := p.status(t)
		if is(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("pod %s: not %s after a minute: %+v", p.name, what, s.Status)
		}
	}
}

// ready waits until the pod is.
func (p pod) ready(t testing.TB) status {
	t.Helper()
	return p.until(t, "ready", func(s status) bool {
		return slices.ContainsFunc(s.Status.Conditions, func(c struct{ Type, Status string }) bool { return c.Type == "Ready" && c.Status == "True" })
	})
}

// ended waits until a container has ended, for good or to be started again.
func (p pod) ended(t testing.TB, container string) status {
	t.Helper()
	return p.until(t, "with an ended "+container, func(s status) bool { return s.container(container).State.Terminated != nil })
}

// exec runs a program in a container, which shall succeed.
func (p pod) exec(t testing.TB, container string, args ...string) string {
	t.Helper()
	return kubectl(t, append([]string{"exec", p.name, "-c", container, "--"}, args...)...)
}

// execFails runs a program in a container, which shall fail and say these words.
func (p pod) execFails(t testing.TB, container, words string, args ...string) {
	t.Helper()
	out, err := tryKubectl(t, "", append([]string{"exec", p.name, "-c", container, "--"}, args...)...)
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%s in %s: %q, %v, want an error with %q", args, container, out, err, words)
	}
}

// read is the content of a file, as a container's own program sees it: a guest's or busybox's.
func (p pod) read(t testing.TB, container, path string) string {
	t.Helper()
	if strings.HasPrefix(container, "linux") {
		return p.exec(t, container, "cat", path)
	}
	return p.exec(t, container, "/files.wasm", "read", path)
}

// processes are those in the control group of a container, as the node sees them.
func (p pod) processes(t testing.TB, container string) []int {
	t.Helper()
	_, id, _ := strings.Cut(p.status(t).container(container).ContainerID, "://")
	return processesOf(t, id)
}

// cgroup is the control group of a container in a hierarchy.
func cgroup(t testing.TB, id, controller string) string {
	t.Helper()
	groups, err := isolate.Cgroups(filepath.Base(cluster.Dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		if filepath.Base(group) == id && strings.HasPrefix(group, "/sys/fs/cgroup/"+controller) {
			return group
		}
	}
	t.Fatalf("there is no cgroup %q of %s", id, controller)
	return ""
}

func processesOf(t testing.TB, id string) []int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cgroup(t, id, "memory"), "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		t.Fatalf("container %s has no process", id)
	}
	return pids
}

// namespace is the namespace of a container's first process.
func (p pod) namespace(t testing.TB, container, kind string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.processes(t, container)[0], kind))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func equal(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func contains(t testing.TB, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: %q is without %q", what, got, want)
	}
}
