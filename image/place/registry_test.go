package place

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestProgress(t *testing.T) {
	for interval, want := range map[time.Duration]string{
		0:         "pushed 1.5 of 40.0 MB\npushed 40.0 of 40.0 MB\n",
		time.Hour: "",
	} {
		updates := make(chan v1.Update, 3)
		for _, u := range []v1.Update{{Complete: 1_500_000, Total: 40_000_000}, {Complete: 40_000_000, Total: 40_000_000}} {
			updates <- u
		}
		close(updates)
		var told strings.Builder
		registry{progress: &told}.tell(updates, nil, interval)
		if told.String() != want {
			t.Errorf("every %v: %q", interval, told.String())
		}
	}
}
