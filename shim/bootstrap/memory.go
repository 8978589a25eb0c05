package bootstrap

import (
	"runtime/debug"
	"time"
)

// quiet is how long a shim must have been asked for nothing to give memory back.
const quiet = time.Second

// thrift gives memory back to the system when the shim has been quiet for a while.
// Making a container takes several times what keeping it takes, a node has many
// shims, and Go's runtime would keep what one has had for minutes, or until its
// next collection, which an idle program does not come to.
type thrift struct{ timer *time.Timer }

func newThrift() thrift {
	t := time.AfterFunc(quiet, debug.FreeOSMemory)
	return thrift{t}
}

// called notes that the shim is not quiet.
func (t thrift) called() { t.timer.Reset(quiet) }
