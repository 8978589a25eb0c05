//go:build !shim_tracing

package bootstrap

import (
	"context"
	"os"

	"github.com/containerd/log"
)

// checkTracing tells the operator who asks for traces that this build has none.
// They would make every daemon's own memory larger by half (see RATIONALE.md).
func checkTracing(ctx context.Context) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if os.Getenv(name) != "" {
			log.G(ctx).Warnf("%s asks for traces, which this build of the shim does not have; build it with TAGS=shim_tracing", name)
			return
		}
	}
}
