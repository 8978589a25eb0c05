package kubernetes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-shim-wasm/containerd-shim-wasm/test/isolate"
)

// takeResidue is all that a pod may leave behind on the node.
func takeResidue(dir string) (isolate.Residue, error) {
	r := isolate.Residue{}
	return r, errors.Join(r.Processes(ours...), r.Mounts(), cgroups(r, filepath.Base(dir)), files(r, dir), interfaces(r))
}

// ours are programs that come and go by themselves.
var ours = []string{"containerd", "kubectl", "kubelet", "etcd",
	"kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// cgroups are those of pods. The kubelet keeps kubepods and its classes.
func cgroups(r isolate.Residue, name string) error {
	groups, err := isolate.Cgroups(name)
	for _, group := range groups {
		switch filepath.Base(group) {
		case name, "kubepods", "burstable", "besteffort":
		default:
			r["cgroup "+group] = true
		}
	}
	return err
}

// files are sockets, FIFOs and bundles of shims, pods' network namespaces, logs
// and volumes, and the addresses that CNI has given away.
func files(r isolate.Residue, dir string) error {
	for _, pattern := range []string{
		"/run/containerd/s/*", "/run/containerd/fifo/*", "/run/containerd/runc/k8s.io/*",
		dir + "/containerd/state/netns/*",
		dir + "/containerd/*/io.containerd.runtime.v2.task/k8s.io/*",
		dir + "/containerd/*/io.containerd.grpc.v1.cri/*/*",
		dir + "/containerd/*/io.containerd.sandbox.*/*/*",
		dir + "/lib/kubelet/pods/*",
		dir + "/lib/cni/results/*",
		dir + "/addresses/pods/*.*.*.*",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			r["file "+path] = true
		}
	}
	// The layers of containers: what images have was there before.
	snapshots, err := filepath.Glob(dir + "/containerd/root/io.containerd.snapshotter.v1.overlayfs/snapshots/*")
	for _, path := range snapshots {
		r["file "+path] = true
	}
	return err
}

// interfaces are the ends of pods' cables.
func interfaces(r isolate.Residue) error {
	data, err := os.ReadFile("/proc/self/net/dev")
	for line := range strings.Lines(string(data)) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && strings.HasPrefix(name, "veth") {
			r["interface "+name] = true
		}
	}
	return err
}

// surplus lists what is there now and was not when the tests began.
func surplus() ([]string, error) {
	now, err := takeResidue(cluster.Dir)
	if err != nil {
		return nil, fmt.Errorf("look for leftovers: %w", err)
	}
	return now.Beside(before), nil
}

// collect does what the kubelet does once a minute, and containerd when enough has
// changed: it has CRI remove the sandboxes that have been stopped, and containerd
// what nothing refers to.
func collect(t *testing.T) {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+cluster.Daemon.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	runtime := cri.NewRuntimeServiceClient(conn)
	stopped := &cri.PodSandboxFilter{State: &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_NOTREADY}}
	all, err := runtime.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{Filter: stopped})
	if err != nil {
		t.Fatal(err)
	}
	for _, sandbox := range all.Items {
		if _, err := runtime.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: sandbox.Id}); err != nil {
			t.Error(err)
		}
	}
	for _, args := range [][]string{{"leases", "create", "--id", "collect"}, {"leases", "delete", "--sync", "collect"}} {
		if out, err := cluster.Daemon.Ctr(t.Context(), args...).CombinedOutput(); err != nil {
			t.Errorf("ctr %s: %v: %s", args, err, out)
		}
	}
}

// nothingLeft fails the test if there is more on the node than when the tests
// began, some time after all pods have gone.
func nothingLeft(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		collect(t)
		left, err := surplus()
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("left behind:\n\t%s", strings.Join(left, "\n\t"))
			if before, err = takeResidue(cluster.Dir); err != nil { // charge it to this test only
				t.Fatal(err)
			}
			return
		}
	}
}

// onlyTheNodes says what is there after the cluster's end that was not before its
// beginning: no process and no interface, and no mount but the node's own.
func onlyTheNodes(dir string, alone isolate.Residue) error {
	now, err := takeResidue(dir)
	if err != nil {
		return err
	}
	if left := now.Beside(alone, before); len(left) > 0 {
		return errors.New("left behind by the cluster:\n\t" + strings.Join(left, "\n\t"))
	}
	return nil
}
