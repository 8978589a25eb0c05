package kubernetes

import (
	"syscall"
	"testing"
)

// testEnds runs containers that end, each in its way, once.
func testEnds(t *testing.T, class string) {
	p := newPod(t, class, "ends", `
restartPolicy: Never
volumes: [{name: memory, emptyDir: {medium: Memory}}]
containers:
- {name: wasm-zero, image: "test.local/wasm:1", command: [/exit.wasm, "0"]}
- {name: wasm-three, image: "test.local/wasm:1", command: [/exit.wasm, "3"]}
- {name: linux-four, image: "test.local/linux:1", command: [sh, -c, exit 4]}
- {name: wasm-words, image: "test.local/wasm:1", command: [/files.wasm, write, /dev/termination-log, last words]}
- {name: wasm-path, image: "test.local/wasm:1", terminationMessagePath: /words, command: [/files.wasm, write, /words, other words]}
- {name: wasm-log, image: "test.local/wasm:1", terminationMessagePolicy: FallbackToLogsOnError, command: [/trap.wasm, unreachable]}
- {name: wasm-allocation, image: "test.local/wasm:1", terminationMessagePolicy: FallbackToLogsOnError, command: [/alloc.wasm, "512"], resources: {limits: {memory: 64Mi}}}
- {name: wasm-memory, image: "test.local/wasm:1", command: [/fill.wasm, /memory/file], resources: {requests: {cpu: 500m}, limits: {memory: 64Mi}}, volumeMounts: [{name: memory, mountPath: /memory}]}
- {name: linux-memory, image: "test.local/linux:1", command: [sh, -c, "tail /dev/zero"], resources: {limits: {memory: 64Mi}}}
`)
	s := p.until(t, "failed", func(s status) bool { return s.Status.Phase == "Failed" })
	for container, want := range map[string]struct {
		code            int
		reason, message string
	}{
		"wasm-zero":  {0, "Completed", ""},
		"wasm-three": {3, "Error", ""},
		"linux-four": {4, "Error", ""},
		"wasm-words": {0, "Completed", "last words"},
		"wasm-path":  {0, "Completed", "other words"},
		"wasm-log":   {134, "Error", "unreachable"},
		// A guest sees its allocation fail; the kernel kills for what it has in files.
		"wasm-allocation": {1, "Error", "allocation failed at"},
		"wasm-memory":     {137, "OOMKilled", ""},
		"linux-memory":    {137, "OOMKilled", ""},
	} {
		t.Run(container, func(t *testing.T) {
			end := s.container(container).State.Terminated
			if end == nil {
				t.Fatalf("it has not ended: %+v", s.container(container))
			}
			if end.ExitCode != want.code || end.Reason != want.reason {
				t.Errorf("exit code %d, %s, want %d, %s; message %q", end.ExitCode, end.Reason, want.code, want.reason, end.Message)
			}
			contains(t, "the termination message", end.Message, want.message)
		})
	}
}

// testRestarts has the kubelet start again what ends, as the pod's policy says.
func testRestarts(t *testing.T, class string) {
	always := newPod(t, class, "always", `
restartPolicy: Always
containers:
- {name: wasm, image: "test.local/wasm:1", args: ["3000"]}
- {name: linux, image: "test.local/linux:1"}
`)
	onFailure := newPod(t, class, "on-failure", `
restartPolicy: OnFailure
containers:
- {name: wasm-zero, image: "test.local/wasm:1", command: [/exit.wasm, "0"]}
- {name: wasm-one, image: "test.local/wasm:1", command: [/exit.wasm, "1"]}
`)
	killed := newPod(t, class, "process-killed", resilient)
	killed.ready(t)
	each(t,
		sub{"Always restarts what has succeeded, and nothing else", func(t *testing.T) {
			s := always.until(t, "restarted", func(s status) bool { return s.container("wasm").RestartCount > 0 })
			if end := s.container("wasm").LastState.Terminated; end == nil || end.ExitCode != 0 {
				t.Errorf("before: %+v", end)
			}
			if n := s.container("linux").RestartCount; n != 0 {
				t.Errorf("the Linux container was restarted %d times", n)
			}
			equal(t, "the log of the last run", kubectl(t, "logs", always.name, "-c", "wasm", "--previous"), "sleeping\nawake\n")
		}},
		sub{"a guest whose process is killed is restarted", func(t *testing.T) {
			if err := syscall.Kill(killed.processes(t, "wasm")[0], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			s := killed.until(t, "restarted", func(s status) bool { return s.container("wasm").RestartCount > 0 && s.container("wasm").Ready })
			if end := s.container("wasm").LastState.Terminated; end == nil || end.ExitCode != 137 {
				t.Errorf("before: %+v", end)
			}
			if n := s.container("linux").RestartCount; n != 0 {
				t.Errorf("the Linux container was restarted %d times", n)
			}
		}},
		sub{"OnFailure restarts what has failed, and nothing else", func(t *testing.T) {
			s := onFailure.until(t, "restarted", func(s status) bool { return s.container("wasm-one").RestartCount > 0 })
			if c := s.container("wasm-zero"); c.RestartCount != 0 || c.State.Terminated == nil {
				t.Errorf("what had succeeded is %+v", c)
			}
		}},
	)
}
