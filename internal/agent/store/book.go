package store

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
)

// book is what a watch knows of its checks.
type book struct {
	mu           sync.Mutex
	verdict      *integrity.Verdict
	began, ended time.Time // of the verdict's check
	running      time.Time // zero: none is under way
	hurry        bool      // the next check is not to be slowed down
	sample       []module.Version
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

func (b *book) end(v integrity.Verdict, now time.Time, sample []module.Version) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verdict, b.began, b.ended, b.running, b.sample = &v, b.running, now, time.Time{}, sample
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

// samples is how many modules a report names, and maxSample how large their
// archives may be, in bytes: somebody will ask for them again and again.
const (
	samples   = 3
	maxSample = 1 << 20
)

// sample names the smallest versions that the store holds as a whole; none if
// it cannot be read.
func (w *Watch) sample() []module.Version {
	layout, err := store.Parse(w.Layout)
	if err != nil {
		return nil
	}
	root, err := tree.Open(w.Store)
	if err != nil {
		return nil
	}
	defer func() { _ = root.Close() }()
	contents, err := store.Scan(root, layout)
	if err != nil {
		return nil
	}
	whole := slices.DeleteFunc(contents.Versions, func(v store.Version) bool {
		return v.ZipSize > maxSample || !v.Files.Has(modcache.Zip) || !v.Files.Has(modcache.Mod) || !v.Files.Has(modcache.Info)
	})
	slices.SortStableFunc(whole, func(a, b store.Version) int { return int(a.ZipSize - b.ZipSize) })
	var some []module.Version
	for _, v := range whole[:min(samples, len(whole))] {
		some = append(some, v.Version)
	}
	return some
}
