package integrity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/modcache"
)

// Options select what to check and how. The zero value of each option but the
// caches is a good default.
type Options struct {
	ModCache   string // GOMODCACHE; empty: not checked
	BuildCache string // GOCACHE; empty: not checked
	Store      string // a proxy's store; empty: not checked
	Layout     string // of the store: goproxy or athens
	// Volume is the root of the volume that holds the caches, if only the
	// operator writes to it: entries that its writer never leaves are Corrupt
	// then. Empty: the caches are a user's own, and such entries are notes.
	Volume string
	// Live: a writer is to run on the volume before it is snapshotted. What the
	// writer removes is Recoverable then: one that was killed may have left it.
	Live bool
	// Sealed is the digest of the manifest that the last writer of the volume
	// reported. The manifest itself is in RecordsDir of Volume, and what differs
	// from it is Unsealed. Empty: nothing is known of what a writer left.
	Sealed string
	// NeverSealed: no writer has reported such a digest, so that nothing vouches for
	// what the volume holds, and the verdict is Inconclusive at best.
	NeverSealed bool
	// Trust is what the contents of modules are compared with, in addition to
	// the cache's own hashes.
	Trust *Trust
	// Snapshots are the sums of modules that a go command extracts from its own
	// GOROOT, as the writer of the cache recorded them.
	Snapshots *Trust
	// FullCoverage makes the verdict Inconclusive if a version of the module cache
	// holds content that trust data do not name.
	FullCoverage bool
	// SumDBs are checksum databases whose cached records add to trust.
	SumDBs []SumDB
	// Baseline makes the check incremental.
	Baseline Baseline
	// Workers is how many files are read at once. The default is twice the
	// processors, since a cold page cache keeps workers waiting.
	Workers int
	// FailOn is the least severity that makes the verdict Corrupt:
	// SeverityCorrupt, or Recoverable.
	FailOn Severity
	// Now is the time that ages are measured against.
	Now time.Time
	// Settle is how long to wait before looking again at what looks wrong.
	Settle time.Duration
	// Manifest receives the canonical manifest's text.
	Manifest io.Writer
	Progress *Progress
	// Pace, if set, is called before a version of a store is read, with about
	// how many bytes that costs: it may wait.
	Pace func(ctx context.Context, bytes int64)
	// Observe is called with each finding; the verdict holds only examples.
	Observe func(Finding)
	// Withdraw, if set, removes what findings in a store name in Remove: what is
	// gone is fetched again. An error means that something of it is still there.
	Withdraw func([]Finding) error
}

const (
	defaultSettle = 250 * time.Millisecond
	// maxRechecks is how often an entry that keeps changing is checked again
	// before it counts as under way.
	maxRechecks = 4
	// memory is what all workers together may use for buffers, in bytes.
	memory = 48 << 20
)

// Check checks the caches and returns the verdict, without its duration. An
// error means that nothing was checked: a directory that is not there, or ctx.
func Check(ctx context.Context, o Options) (Verdict, error) {
	o.setDefaults()
	r := &run{Options: o, found: newCollector(o.Observe)}
	var sealed *seal
	if o.Sealed != "" {
		sealed = r.beginSeal()
		defer sealed.end()
		r.manifest = manifest.NewWriter(sealed.beside(o.Manifest))
	} else {
		r.manifest = manifest.NewWriter(o.Manifest)
	}
	for range o.Workers {
		r.workers = append(r.workers, newWorker(memory/int64(o.Workers)/4))
	}
	if err := r.checkAll(ctx); err != nil {
		return Verdict{}, err
	}
	digest, err := r.manifest.Close()
	if err != nil {
		return Verdict{}, err
	}
	if sealed != nil {
		r.endSeal(sealed, digest)
	}
	if o.NeverSealed {
		r.found.add(Finding{
			Class: Unsealed, Severity: SeverityUnreadable, Cache: Volume, Path: manifest.RecordsDir + "/" + manifest.Name,
			Detail: "no writer has reported what it left on the volume, so that nothing vouches for the content: request a warm-up",
		})
	}
	v := r.found.verdict(o.FailOn)
	v.Digest, v.Counts, v.Bytes = digest, r.counts, r.bytes
	v.Message = v.Summary()
	if r.spared != "" {
		v.Message += "; " + r.spared
	}
	return v, nil
}

func (o *Options) setDefaults() {
	if o.Workers <= 0 {
		o.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	if o.Settle <= 0 {
		o.Settle = defaultSettle
	}
	if o.FailOn != Recoverable {
		o.FailOn = SeverityCorrupt
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
}

// checkAll checks what the options name, in the order of the manifest.
func (r *run) checkAll(ctx context.Context) error {
	for _, part := range []struct {
		name, dir string
		check     func() error
	}{
		{"volume", r.Volume, r.checkVolume},
		{"module cache", r.ModCache, func() error { return r.checkModules(ctx) }},
		{"store", r.Store, func() error { return r.checkStore(ctx) }},
		{"build cache", r.BuildCache, func() error { return r.checkBuild(ctx) }},
	} {
		if part.dir == "" {
			continue
		}
		if err := part.check(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// run is one check.
type run struct {
	Options
	found    *collector
	manifest *manifest.Writer
	workers  []*worker

	mu     sync.Mutex
	counts Counts
	bytes  int64
	spared string // why nothing was withdrawn; empty: no such reason
}

func (r *run) count(f func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.counts)
}

func (r *run) read(n int64) {
	r.Progress.Bytes.Add(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += n
}

// unreadable reports an entry that could not be read. An entry that vanished
// meanwhile is no finding: caches are trimmed while they are read.
func (r *run) unreadable(c Cache, path string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	r.found.add(Finding{Class: Unreadable, Severity: SeverityUnreadable, Cache: c, Path: path, Detail: err.Error()})
}

// worker is what one goroutine needs for itself.
type worker struct {
	hasher *modcache.Hasher
	small  []byte
	fresh  bool // look for files that an earlier scan did not see
}

func newWorker(limit int64) *worker {
	return &worker{hasher: modcache.NewHasher(min(limit, 8<<20)), small: make([]byte, 0, 8<<10)}
}

// outcome is the result of one look at one entry.
type outcome struct {
	findings        []Finding
	record          manifest.Record
	zips, dirs, raw int
	content, proven int // 1 for a module version with content, and with trusted content
	bytes           int64
	identities      []tree.Info
}

func (o *outcome) observe(i tree.Info) { o.identities = append(o.identities, i) }

// suspicious reports whether there is something that could be a passing state.
func (o *outcome) suspicious() bool {
	for i := range o.findings {
		f := &o.findings[i]
		unnamed := f.Class == Unverifiable && f.Severity == SeverityUnreadable // that trust data lack it, does not pass
		if f.Severity != Note && !unnamed {
			return true
		}
	}
	return false
}

// excuse turns findings into notes about work under way. On a volume that only the
// operator writes to, no writer runs beside a check: another process works there, and
// what was not verified is not intact.
func (r *run) excuse(o *outcome, why string) {
	severity := Note
	if r.Volume != "" {
		severity = SeverityUnreadable
	}
	for i := range o.findings {
		if f := &o.findings[i]; f.Severity != Note && f.Class != InFlight {
			f.Class, f.Severity, f.Detail, f.Remove = InFlight, severity, why+": "+f.Detail, nil
		}
	}
}

// still reports whether a second look saw exactly what the first one did.
func (o *outcome) still(p *outcome) bool {
	if len(o.findings) != len(p.findings) || len(o.identities) != len(p.identities) {
		return false
	}
	for i := range o.findings {
		a, b := o.findings[i], p.findings[i]
		if a.Class != b.Class || a.Path != b.Path || a.Detail != b.Detail {
			return false
		}
	}
	for i := range o.identities {
		if !o.identities[i].Same(p.identities[i]) {
			return false
		}
	}
	return true
}

// settled checks all items and looks again at what is suspicious, all of it
// after one common pause, until it has held still for that long.
func (r *run) settled(ctx context.Context, items []int32, check func(*worker, int32) outcome, done func(int32, outcome)) error {
	return r.settle(ctx, items, check, func(i int32, o outcome) {
		r.account(o)
		done(i, o)
	})
}

// account takes the last outcome of an item into the verdict.
func (r *run) account(o outcome) {
	r.found.add(o.findings...)
	r.read(o.bytes)
	r.Progress.Done.Add(1)
}

// settle is settled for a caller that accounts for the outcomes by itself. It
// may call report from several goroutines at once.
func (r *run) settle(ctx context.Context, items []int32, check func(*worker, int32) outcome, report func(int32, outcome)) error {
	var mu sync.Mutex
	suspects := map[int32]outcome{}
	err := r.each(ctx, items, false, func(w *worker, i int32) {
		o := check(w, i)
		if !o.suspicious() {
			report(i, o)
			return
		}
		mu.Lock()
		suspects[i] = o
		mu.Unlock()
	})
	for look := 0; err == nil && len(suspects) > 0; look++ {
		if err := pause(ctx, r.Settle); err != nil {
			return err
		}
		again := make([]int32, 0, len(suspects))
		for i := range suspects {
			again = append(again, i)
		}
		err = r.each(ctx, again, true, func(w *worker, i int32) {
			o := check(w, i)
			mu.Lock()
			before := suspects[i]
			mu.Unlock()
			switch {
			case !o.suspicious() || o.still(&before):
			case look >= maxRechecks:
				r.excuse(&o, "it kept changing")
			default:
				mu.Lock()
				suspects[i] = o
				mu.Unlock()
				return
			}
			report(i, o)
			mu.Lock()
			delete(suspects, i)
			mu.Unlock()
		})
	}
	return err
}

// each calls fn for all items on all workers.
func (r *run) each(ctx context.Context, items []int32, fresh bool, fn func(*worker, int32)) error {
	next := make(chan int32)
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range r.workers {
		group.Go(func() error {
			w.fresh = fresh
			for i := range next {
				fn(w, i)
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(next)
		for _, i := range items {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return group.Wait()
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
