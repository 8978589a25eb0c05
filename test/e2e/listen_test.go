package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// texts is a list in an administrator's table.
type texts []string

func (l texts) GoString() string { return fmt.Sprintf("%q", []string(l)) }

// listening is a guest that listens at the address, in the tests' network.
func listening(address string) plan {
	return plan{guest: "listener", options: map[string]any{"Annotations": texts{"listen"}}, spec: []oci.SpecOpts{
		oci.WithHostNamespace(specs.NetworkNamespace),
		oci.WithAnnotations(map[string]string{"io.containerd.wasm.v1.listen": address}),
	}}
}

// TestListen has a web server of Go's standard library serve as a guest, and do
// nothing while there is nothing to do.
func TestListen(t *testing.T) {
	leavesNothing(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if _, err := listening("tcp://" + address).tryCreate(t); err == nil || !strings.Contains(err.Error(), "listening at tcp://"+address+": address already in use") {
		t.Errorf("what is in use: %v", err)
	}
	free.Close()
	b := listening("tcp://" + address).start(t)
	b.stdout.waitFor(t, "serving")
	var clients sync.WaitGroup
	for i := range 20 {
		clients.Go(func() {
			path := fmt.Sprintf("/%d", i)
			if got, err := fetched(t.Context(), "http://"+address+path); err != nil || got != "you asked for "+path+"\n" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	clients.Wait()
	before := processorTime(t, b.task.Pid())
	time.Sleep(time.Second)
	if used := processorTime(t, b.task.Pid()) - before; used > 50*time.Millisecond {
		t.Errorf("a second of nothing took %v of processor time", used)
	}
	b.kill(t, syscall.SIGTERM)
	b.waitCode(t, 143)
}

func fetched(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, scaled(10*time.Second))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return string(content), err
}

// processorTime is what a process has used.
func processorTime(t *testing.T, pid uint32) time.Duration {
	t.Helper()
	_, stat, _ := strings.Cut(read(t, procFile(pid, "stat")), ") ")
	fields := strings.Fields(stat)
	var user, system time.Duration
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil { // proc(5)
		t.Fatal(err)
	}
	return (user + system) * 10 * time.Millisecond
}

// TestListenIsTheAdministratorsToAllow also has addresses that are none.
func TestListenIsTheAdministratorsToAllow(t *testing.T) {
	leavesNothing(t)
	forbidden := listening("tcp://127.0.0.1:1")
	forbidden.options = nil
	if _, err := forbidden.tryCreate(t); err == nil || !strings.Contains(err.Error(), `"io.containerd.wasm.v1.listen": not allowed`) {
		t.Errorf("what is not allowed: %v", err)
	}
	for _, address := range []string{"", "8080", "udp://0.0.0.0:80", "tcp://localhost:80", "tcp://0.0.0.0:0", "tcp://0.0.0.0:80,"} {
		if _, err := listening(address).tryCreate(t); err == nil || !strings.Contains(err.Error(), "is no address to listen at; write tcp://0.0.0.0:8080") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
