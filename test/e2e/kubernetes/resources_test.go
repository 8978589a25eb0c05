package kubernetes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testResources(t *testing.T, class string) {
	p := newPod(t, class, "resources", `
containers:
- name: wasm
  image: test.local/wasm:1
  resources: {limits: {cpu: 200m, memory: 64Mi}}
- name: linux
  image: test.local/linux:1
  resources: {limits: {cpu: 200m, memory: 64Mi}}
`)
	ids := map[string]string{}
	for _, c := range []string{"wasm", "linux"} {
		ids[c] = p.ready(t).container(c).ContainerID
	}
	limits := func(t *testing.T, quota, memory string) {
		t.Helper()
		for c, id := range ids {
			_, id, _ := strings.Cut(id, "://")
			equal(t, "CPU quota of "+c, setting(t, id, "cpu", "cpu.cfs_quota_us"), quota)
			equal(t, "memory limit of "+c, setting(t, id, "memory", "memory.limit_in_bytes"), memory)
		}
	}
	each(t,
		sub{"limits are the control groups'", func(t *testing.T) { limits(t, "20000", "67108864") }},
		sub{"limits are changed in place", func(t *testing.T) {
			for _, c := range []string{"wasm", "linux"} {
				kubectl(t, "patch", "pod", p.name, "--subresource", "resize", "-p",
					`{"spec":{"containers":[{"name":"`+c+`","resources":{"limits":{"cpu":"300m","memory":"96Mi"},"requests":{"cpu":"300m","memory":"96Mi"}}}]}}`)
			}
			s := p.until(t, "resized", func(s status) bool {
				return s.container("wasm").Resources.Limits["memory"] == "96Mi" && s.container("linux").Resources.Limits["memory"] == "96Mi" &&
					s.container("wasm").Resources.Limits["cpu"] == "300m" && s.container("linux").Resources.Limits["cpu"] == "300m"
			})
			limits(t, "30000", "100663296")
			for c, id := range ids {
				if now := s.container(c); now.RestartCount != 0 || now.ContainerID != id {
					t.Errorf("%s was restarted: %+v", c, now)
				}
			}
		}},
	)
}

// setting is the value of a file of a container's control group.
func setting(t testing.TB, id, controller, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cgroup(t, id, controller), file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// testQoS has the kubelet put a pod of each class below the group of the class.
func testQoS(t *testing.T, class string) {
	for quality, test := range map[string]struct{ resources, below string }{
		"Guaranteed": {"{limits: {cpu: 100m, memory: 64Mi}}", "/kubepods/pod"},
		"Burstable":  {"{requests: {memory: 64Mi}}", "/kubepods/burstable/pod"},
		"BestEffort": {"{}", "/kubepods/besteffort/pod"},
	} {
		t.Run(quality, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, class, "qos-"+strings.ToLower(quality), `
containers:
- name: wasm
  image: test.local/wasm:1
  resources: `+test.resources+"\n")
			s := p.ready(t)
			equal(t, "class", s.Status.QosClass, quality)
			_, id, _ := strings.Cut(s.container("wasm").ContainerID, "://")
			contains(t, "the control group", cgroup(t, id, "memory"), test.below+s.Metadata.UID+"/")
		})
	}
}

// testGrace has containers ended by SIGTERM, or by SIGKILL after the grace period.
func testGrace(t *testing.T, class string) {
	p := newPod(t, class, "grace", `
restartPolicy: Never
activeDeadlineSeconds: 3
containers: [{name: wasm, image: "test.local/wasm:1"}]
`)
	s := p.ended(t, "wasm")
	equal(t, "the reason", s.Status.Reason, "DeadlineExceeded")
	if end := s.container("wasm").State.Terminated; end.ExitCode != 143 {
		t.Errorf("the guest ended with %+v, want exit code 143", end)
	}

	p = newPod(t, class, "grace-linux", `
terminationGracePeriodSeconds: 5
containers:
- {name: wasm, image: "test.local/wasm:1"}
- {name: linux, image: "test.local/linux:1", command: [sleep, "1000"]} # as process 1 it has no SIGTERM
`)
	p.ready(t)
	began := time.Now()
	kubectl(t, "delete", "pod", p.name)
	if took := time.Since(began); took < 5*time.Second || took > 20*time.Second {
		t.Errorf("deleting took %.1f s, of a pod with 5 s of grace that a Linux container uses up", took.Seconds())
	}
}
