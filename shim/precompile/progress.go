package precompile

import (
	"fmt"
	"os"
	"time"
)

// patience is after how long somebody who waits is told of the work.
const patience = 5 * time.Second

// progress tells of an image that takes long, on standard error.
type progress struct {
	name string
	stop chan struct{} // nil before the beginning
}

func (p *progress) begin() {
	p.stop = make(chan struct{})
	go func() {
		tick := time.NewTicker(patience)
		defer tick.Stop()
		for began := time.Now(); ; {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				fmt.Fprintf(os.Stderr, "%s: compiling for %.0f s\n", p.name, time.Since(began).Seconds())
			}
		}
	}()
}

func (p *progress) end() {
	if p.stop != nil {
		close(p.stop)
	}
}
