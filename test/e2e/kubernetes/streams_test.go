package kubernetes

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// get is what a server answers to the node.
func get(t testing.TB, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// lines starts a kubectl that goes on, for the time of the test, and returns the
// lines that it writes.
func lines(t *testing.T, args ...string) *bufio.Scanner {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	cmd := cluster.Kubectl(ctx, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problem strings.Builder
	cmd.Stderr = &problem
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("kubectl %s said: %s", strings.Join(args, " "), problem.String())
		}
	})
	return bufio.NewScanner(out)
}

// follows has kubectl show the counter's lines as they come.
func follows(t *testing.T, args ...string) {
	t.Helper()
	scanner := lines(t, args...)
	last := -1
	for range 5 {
		if !scanner.Scan() {
			t.Fatalf("no line after %d: %v", last, scanner.Err())
		}
		n, err := strconv.Atoi(scanner.Text())
		if err != nil {
			t.Fatal(err)
		}
		if last >= 0 && n != last+1 {
			t.Errorf("%d after %d", n, last)
		}
		last = n
	}
}

// copies has kubectl cp carry a file in and out.
func copies(t *testing.T, p pod) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte("carried\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "cp", in, p.name+":/shared/carried", "-c", "linux")
	equal(t, "what a guest reads", p.read(t, "wasm", "/shared/carried"), "carried\n")
	kubectl(t, "cp", p.name+":/shared/steps", out, "-c", "linux")
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "what came out", string(data), "first\nsecond")
	if _, err := tryKubectl(t, "", "cp", in, p.name+":/shared/carried", "-c", "wasm"); err == nil {
		t.Error("cp into a Wasm container succeeded, which has no tar")
	}
}

// forwards reaches a server of the pod's by a port that is forwarded to it.
func forwards(t *testing.T, p pod) {
	equal(t, "the server", get(t, forwarded(t, p, "8081")+"/echo/forwarded"), "forwarded\n")
}

// forwarded has kubectl forward a port of its own choice to one of the pod's, and
// returns the former's URL.
func forwarded(t *testing.T, p pod, to string) string {
	t.Helper()
	scanner := lines(t, "port-forward", "pod/"+p.name, ":"+to)
	if !scanner.Scan() {
		t.Fatal("port-forward said nothing")
	}
	// Forwarding from 127.0.0.1:PORT -> TO
	_, rest, _ := strings.Cut(scanner.Text(), "127.0.0.1:")
	port, _, _ := strings.Cut(rest, " ")
	return "http://127.0.0.1:" + port
}

// measured reads what `kubectl top` is made of, which the kubelet gives to whoever
// collects it.
func measured(t *testing.T, p pod, containers []string) {
	type usage struct {
		CPU    struct{ UsageCoreNanoSeconds uint64 }
		Memory struct{ WorkingSetBytes uint64 }
	}
	var summary struct {
		Pods []struct {
			PodRef     struct{ Name string }
			Containers []struct {
				Name string
				usage
			}
			usage
		}
	}
	missing := containers
	for deadline := time.Now().Add(30 * time.Second); len(missing) > 0; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("no usage of %q after 30 s: %+v", missing, summary)
		}
		text := kubectl(t, "get", "--raw", "/api/v1/nodes/node/proxy/stats/summary")
		if err := json.Unmarshal([]byte(text), &summary); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, s := range summary.Pods {
			for _, c := range s.Containers {
				if s.PodRef.Name == p.name && c.CPU.UsageCoreNanoSeconds > 0 && c.Memory.WorkingSetBytes > 0 {
					seen[c.Name] = true
				}
			}
		}
		missing = nil
		for _, c := range containers {
			if !seen[c] {
				missing = append(missing, c)
			}
		}
	}
	resource := kubectl(t, "get", "--raw", "/api/v1/nodes/node/proxy/metrics/resource")
	for _, c := range containers {
		contains(t, "/metrics/resource", resource, `container_memory_working_set_bytes{container="`+c+`",namespace="default",pod="`+p.name+`"}`)
	}
}

// debugs adds a Linux container to the pod, which sees the network of the others.
func debugs(t *testing.T, p pod) {
	kubectl(t, "debug", p.name, "--image", linuxImage, "--container", "linux-debug", "--target", "wasm", "--profile", "general", "--",
		"sh", "-c", "wget -qO- http://127.0.0.1:8080/echo/debugged; ps -o args; trap 'exit 0' TERM; sleep 1000 & wait")
	p.until(t, "being debugged", func(s status) bool { return s.container("linux-debug").State.Running != nil })
	var log string
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(log, "sleep") && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		log = kubectl(t, "logs", p.name, "-c", "linux-debug")
	}
	contains(t, "the debugger's log", log, "debugged\n")
	// Its PID namespace is that of the container that it looks at.
	equal(t, "the PID namespace", p.namespace(t, "linux-debug", "pid"), p.namespace(t, "wasm", "pid"))
}
