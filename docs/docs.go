// Package docs is the manual, embedded so that the tests can run what it says.
package docs

import (
	_ "embed"
	"strings"
)

// The pages.
var (
	//go:embed operations.md
	Operations string
	//go:embed images.md
	Images string
	//go:embed docker.md
	Docker string
	//go:embed hostile-modules.md
	HostileModules string
	//go:embed rootless.md
	Rootless string
	//go:embed kubernetes.md
	Kubernetes string
)

// Commands joins what stands between ```sh and ``` on a page.
func Commands(page string) (script string) {
	for i, part := range strings.Split(page, "\n```") {
		if body, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 {
			script += body + "\n"
		}
	}
	return script
}
