package bootstrap

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	taskv3 "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/ttrpc"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collectSpans is an OpenTelemetry collector on loopback.
func collectSpans(t *testing.T) (endpoint string, spans <-chan *trace.Span) {
	received := make(chan *trace.Span, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		for _, resource := range export.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					received <- span
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return server.URL, received
}

// A shim built with the tag exports a span for each call, within the trace of
// the daemon that made it, before it ends.
func TestTraces(t *testing.T) {
	program := filepath.Join(t.TempDir(), "containerd-shim-wasm-v1")
	build := exec.Command("go", "build", "-tags", "shim_tracing", "-o", program, "../../cmd/containerd-shim-wasm-v1")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with traces: %v\n%s", err, out)
	}
	defer func(former string) { shimBinary = former }(shimBinary)
	shimBinary = program

	endpoint, spans := collectSpans(t)
	dir := newBundle(t, "c1", `{}`)
	address, stderr, err := runShim(t, dir, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint}, nil, startArgs("c1")...)
	if err != nil || stderr != "" {
		t.Fatalf("start: %v, stderr %q", err, stderr)
	}
	pid := shimPid(t, address)
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	ctx := ttrpc.WithMetadata(callContext(t), ttrpc.MD{"traceparent": {"00-" + traceID + "-b7ad6b7169203331-01"}})
	if _, err := taskv3.NewTTRPCTaskClient(dial(t, address)).Pids(ctx, &taskv3.PidsRequest{ID: "nobody"}); err == nil {
		t.Error("nobody has pids")
	}
	shutDown(t, address)
	waitGone(t, pid)

	for {
		select {
		case span := <-spans:
			if !strings.HasSuffix(span.Name, "containerd.task.v3.Task/Pids") {
				continue
			}
			if got := hex.EncodeToString(span.TraceId); got != traceID {
				t.Errorf("the span is in trace %s, the call was in %s", got, traceID)
			}
			return
		case <-time.After(10 * time.Second):
			t.Fatal("no span of the call came")
		}
	}
}

// A shim built without it says so where traces are asked for.
func TestTracesThatCannotBeHad(t *testing.T) {
	dir := newBundle(t, "c1", `{}`)
	logs := readLog(t, dir)
	address, stderr, err := runShim(t, dir, []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1"}, nil, startArgs("c1")...)
	if err != nil || stderr != "" {
		t.Fatalf("start: %v, stderr %q", err, stderr)
	}
	pid := shimPid(t, address)
	shutDown(t, address)
	waitGone(t, pid)
	waitLog(t, logs, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT asks for traces", "shim_tracing")
}
