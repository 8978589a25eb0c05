package bootstrap

import (
	"runtime/debug"
	"time"
)

// quiet is how long a shim must have made nothing to give memory back.
const quiet = time.Second

// thrift gives memory back to the system when the shim has been quiet for a while.
// Making a container takes several times what keeping it takes, a node has many
// shims, and Go's runtime would keep what one has had for minutes, or until its
// next collection, which an idle program does not come to.
type thrift struct{ timer *time.Timer }

func newThrift() thrift { return thrift{time.AfterFunc(quiet, debug.FreeOSMemory)} }

// called notes that the shim has answered a call. Those by which engines look at
// containers every few seconds take little, and do not count: each collection has
// its price, too.
func (t thrift) called(call string) {
	switch call {
	case "Create", "Start", "Delete", "StartSandbox":
		t.timer.Reset(quiet)
	}
}
