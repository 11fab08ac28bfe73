package verify

import (
	"fmt"
	"io"
	"sync"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
)

const often = 200 * time.Millisecond

// Show writes how far a check is to a terminal until the returned function is
// called, which wipes the line.
func Show(w io.Writer, p *integrity.Progress, clock func() time.Time) (stop func()) {
	done := make(chan struct{})
	start := clock()
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(often)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, _ = fmt.Fprint(w, "\r\x1b[K"+line(p, clock().Sub(start)))
			case <-done:
				_, _ = fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	})
	return func() { close(done); group.Wait() }
}

// line is short enough not to wrap: a wrapped line cannot be wiped.
func line(p *integrity.Progress, elapsed time.Duration) string {
	where := "listing"
	if cache, part := p.At(); cache != "" {
		where = fmt.Sprintf("%s %2.0f %%", title(cache), 100*part)
	}
	return fmt.Sprintf("%s  %s checked, %s read, %.0f s", where, grouped(int(p.Done.Load())), size(p.Bytes.Load()), elapsed.Seconds())
}

// title names a cache for a person.
func title(c integrity.Cache) string {
	switch c {
	case integrity.Modules:
		return "module cache"
	case integrity.Build:
		return "build cache"
	case integrity.Store:
		return "store"
	case integrity.Volume:
		return "volume"
	}
	return string(c)
}

// size is a number of bytes in the unit that suits it.
func size(n int64) string {
	for _, unit := range []struct {
		name string
		of   float64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if float64(n) >= unit.of {
			return fmt.Sprintf("%.1f %s", float64(n)/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// grouped is a number with a comma before each three digits.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
