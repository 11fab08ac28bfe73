package verify

import (
	"fmt"
	"io"
	"sync"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
)

const often = 200 * time.Millisecond

// show writes how far a check is to a terminal until the returned function is
// called, which wipes the line.
func show(w io.Writer, p *integrity.Progress) (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(often)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, _ = fmt.Fprintf(w, "\r\x1b[K%d checked, %.1f GB read", p.Done.Load(), float64(p.Bytes.Load())/1e9)
			case <-done:
				_, _ = fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	})
	return func() { close(done); group.Wait() }
}
