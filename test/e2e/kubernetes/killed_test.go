package kubernetes

import (
	"syscall"
	"testing"
	"time"
)

const resilient = `
volumes: [{name: shared, emptyDir: {}}]
containers:
- {name: wasm, image: "test.local/wasm:1", volumeMounts: [{name: shared, mountPath: /shared}]}
- {name: linux, image: "test.local/linux:1", volumeMounts: [{name: shared, mountPath: /shared}]}
`

// works says what a pod is good for.
func (p pod) works(t *testing.T) {
	t.Helper()
	p.exec(t, "wasm", "/files.wasm", "write", "/shared/file", "alive")
	equal(t, "what the Linux container reads", p.read(t, "linux", "/shared/file"), "alive")
	equal(t, "the server", get(t, "http://"+p.status(t).Status.PodIP+":8080/echo/alive"), "alive\n")
}

// unchanged fails the test if the containers are not those of before.
func (p pod) unchanged(t *testing.T, before status) {
	t.Helper()
	now := p.ready(t)
	for _, c := range []string{"wasm", "linux"} {
		if a, b := before.container(c), now.container(c); a.ContainerID != b.ContainerID || b.RestartCount != 0 {
			t.Errorf("%s was %+v and is %+v", c, a, b)
		}
	}
}

// ofEachClass runs a test that has the node for itself.
func ofEachClass(t *testing.T, test func(t *testing.T, class string)) {
	for _, class := range classes {
		t.Run(class, func(t *testing.T) { test(t, class) })
	}
}

// TestDelete deletes pods, which takes less than 3 s: no container uses up its grace
// period. The kubelet alone may need longer when the machine is busy, so a pod has
// three tries.
func TestDelete(t *testing.T) { ofEachClass(t, testDelete) }

func testDelete(t *testing.T, class string) {
	for name, spec := range map[string]string{
		"delete-one": `
containers: [{name: wasm, image: "test.local/wasm:1"}]
`,
		"delete-two": resilient,
	} {
		var took time.Duration
		for range 3 {
			p := newPod(t, class, name, spec)
			p.ready(t)
			if took = p.delete(t); took < 3*time.Second {
				break
			}
		}
		if took >= 3*time.Second {
			t.Errorf("deleting pod %s took %.1f s, not under 3 s", name, took.Seconds())
		}
	}
	nothingLeft(t)
}

// TestShimKilled kills the shim of a pod, which the kubelet makes anew.
func TestShimKilled(t *testing.T) { ofEachClass(t, testShimKilled) }

func testShimKilled(t *testing.T, class string) {
	p := newPod(t, class, "shim-killed", resilient)
	before := p.ready(t)
	if err := syscall.Kill(p.shim(t, "wasm"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.until(t, "made anew", func(s status) bool {
		return s.container("wasm").RestartCount > 0 && s.container("linux").RestartCount > 0 && s.container("wasm").Ready && s.container("linux").Ready
	})
	if now := p.ready(t); now.Status.PodIP == before.Status.PodIP {
		t.Errorf("the pod has the address %s that it had before", now.Status.PodIP)
	}
	p.works(t)
	p.delete(t)
	nothingLeft(t)
}

// TestContainerdKilled kills containerd, while pods go on.
func TestContainerdKilled(t *testing.T) { ofEachClass(t, testContainerdKilled) }

func testContainerdKilled(t *testing.T, class string) {
	p := newPod(t, class, "containerd-killed", resilient)
	before := p.ready(t)
	if err := cluster.KillContainerd(); err != nil {
		t.Fatal(err)
	}
	equal(t, "the server, without containerd", get(t, "http://"+before.Status.PodIP+":8080/echo/alone"), "alone\n")
	if err := cluster.StartContainerd(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodeReady(t)
	p.unchanged(t, before)
	p.works(t)
	p.delete(t)
	nothingLeft(t)
}

// TestKubeletKilled kills the kubelet, while pods go on; one of them is deleted
// before it is back.
func TestKubeletKilled(t *testing.T) { ofEachClass(t, testKubeletKilled) }

func testKubeletKilled(t *testing.T, class string) {
	p, gone := newPod(t, class, "kubelet-killed", resilient), newPod(t, class, "kubelet-killed-gone", resilient)
	before := p.ready(t)
	gone.ready(t)
	if err := cluster.KillKubelet(); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "delete", "pod", gone.name, "--wait=false")
	equal(t, "the server, without the kubelet", get(t, "http://"+before.Status.PodIP+":8080/echo/alone"), "alone\n")
	if err := cluster.StartKubelet(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodeReady(t)
	kubectl(t, "wait", "pod", gone.name, "--for=delete", "--timeout=30s")
	p.unchanged(t, before)
	p.works(t)
	p.delete(t)
	nothingLeft(t)
}

// nodeReady waits until the node has said so again.
func nodeReady(t *testing.T) {
	t.Helper()
	since := time.Now().UTC().Truncate(time.Second)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		text := kubectl(t, "get", "node", "node", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.spec.taints} {.status.conditions[?(@.type=="Ready")].lastHeartbeatTime}`)
		var heartbeat time.Time
		if len(text) > 6 && text[:6] == "True  " {
			heartbeat, _ = time.Parse(time.RFC3339, text[6:])
		}
		if heartbeat.After(since) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node is not ready after a minute: %s", text)
		}
	}
}
