package store

import (
	"sync"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
)

// book is what a watch knows of its checks.
type book struct {
	mu           sync.Mutex
	verdict      *integrity.Verdict
	began, ended time.Time // of the verdict's check
	running      time.Time // zero: none is under way
	hurry        bool      // the next check is not to be slowed down
	sample       []probe.Sampled
}

// ask says how the next check is to be made. Hurry lasts until it began.
func (b *book) ask(unhurried bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hurry = b.hurry || !unhurried
}

func (b *book) begin(now time.Time) (began time.Time, unhurried bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hurry := b.hurry
	b.running, b.hurry = now, false
	return now, !hurry
}

func (b *book) end(v integrity.Verdict, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verdict, b.began, b.ended, b.running = &v, b.running, now, time.Time{}
}

// sampled replaces the sample by a newer one.
func (b *book) sampled(sample []probe.Sampled) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sample = sample
}

// report is what is known now.
func (b *book) report(now time.Time) probe.StoreReport {
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
