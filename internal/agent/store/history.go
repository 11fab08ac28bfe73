package store

import (
	"sync"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
)

// history is the results of the checks of a watch.
type history struct {
	mu           sync.Mutex
	verdict      *integrity.Verdict
	began, ended time.Time // of the verdict's check
	running      time.Time // zero: none is under way
	hurry        bool      // the next check is not to be slowed down
	sample       []probe.Sampled
}

// ask sets how the next check is made. Hurry lasts until it began.
func (b *history) ask(unhurried bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurry = b.hurry || !unhurried
}

func (b *history) begin(now time.Time) (began time.Time, unhurried bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hurry := b.hurry
	b.running, b.hurry = now, false
	return now, !hurry
}

func (b *history) end(v integrity.Verdict, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verdict, b.began, b.ended, b.running = &v, b.running, now, time.Time{}
}

// sampled replaces the sample by a newer one.
func (b *history) sampled(sample []probe.Sampled) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sample = sample
}

// report is what is known now.
func (b *history) report(now time.Time) probe.StoreReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := probe.StoreReport{Sample: b.sample}
	if b.verdict != nil {
		r.Verdict, r.Began, r.Ended = b.verdict, now.Sub(b.began), now.Sub(b.ended)
	}
	if !b.running.IsZero() {
		running := now.Sub(b.running)
		r.Running = &running
	}
	return r
}
