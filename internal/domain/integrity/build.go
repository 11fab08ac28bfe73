package integrity

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/manifest"
)

const (
	shards = 256
	// maxSuspects bounds what is looked at twice; with more, the cache as a
	// whole is damaged.
	maxSuspects = 50_000
	// maxRoom bounds the entries that there is room for in a shard before it is read.
	maxRoom = 1 << 14
)

var indexMagic = []byte("go index v")

// build checks a build cache.
//
// A cache may hold millions of entries, so nothing is kept per entry but what
// [outputs] needs. Shards are checked in parallel and written to the manifest in
// order.
type build struct {
	*run
	shard    [shards]*tree.Dir // nil if there is none
	closed   [shards]bool      // it may be there, but cannot be opened
	mu       sync.Mutex
	suspects []suspect
	largest  int // entries of a shard
	outputs  outputs
	claims   map[buildcache.ID][]int64
}

// suspect is an entry that did not check out at first sight.
type suspect struct {
	shard uint8
	name  string
}

// built is an entry that did.
type built struct {
	kind   manifest.Kind
	id     buildcache.ID
	output buildcache.ID
	size   int64
}

func (r *run) checkBuild(ctx context.Context) error {
	root, err := r.open(r.BuildCache)
	if r.isLink(err) {
		r.unreadable(Build, ".", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	b := &build{run: r}
	defer b.closeShards()
	if err := b.openShards(root); err != nil {
		return err
	}
	if err := b.allShards(ctx); err != nil {
		return err
	}
	b.outputs.orphans(b.found.add)
	return b.recheck(ctx)
}

func (b *build) closeShards() {
	for _, d := range b.shard {
		if d != nil {
			_ = d.Close()
		}
	}
}

// openShards lists the cache's root. Marks are only for the go command's own
// trim, which takes malformed ones for "never".
func (b *build) openShards(root *tree.Dir) error {
	err := root.Each(func(e tree.Entry) error {
		n, isShard := shardOf(e.Name)
		switch {
		case isShard && e.Type == tree.Directory:
			d, err := root.Sub(e.Name)
			if err != nil {
				b.unreadable(Build, e.Name, err)
				b.closed[n] = true
				return nil
			}
			b.shard[n] = d
		case isShard:
			b.found.add(Finding{Class: Malformed, Severity: SeverityCorrupt, Cache: Build, Path: e.Name, Detail: "a " + e.Type.String() + " where a directory belongs", Remove: []string{e.Name}})
		case e.Name == buildcache.TrimMark || e.Name == buildcache.TestExpireMark:
			b.mark(root, e.Name)
		case e.Name == "README" || e.Name == "log.txt" || e.Name == buildcache.FuzzDir:
		default:
			b.found.add(Finding{Class: Stray, Severity: Note, Cache: Build, Path: e.Name, Detail: "no part of a build cache"})
		}
		return nil
	})
	if err != nil {
		b.unreadable(Build, ".", err)
		for n := range b.shard { // any that was not listed may be there
			b.closed[n] = b.shard[n] == nil
		}
	}
	return nil
}

func shardOf(name string) (int, bool) {
	if len(name) != 2 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(name) {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | int(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

func (b *build) mark(root *tree.Dir, name string) {
	f := Finding{Class: Malformed, Severity: Recoverable, Cache: Build, Path: name, Remove: []string{name}}
	data, _, err := root.ReadFile(name, nil, 4<<10)
	switch {
	case err == nil:
		_, err = buildcache.ParseTrim(data)
	case errors.Is(err, tree.ErrNotRegular):
		f.Severity = SeverityCorrupt
	case errors.Is(err, tree.ErrBadMode):
		f.Class = BadMode
	case !errors.Is(err, tree.ErrTooLarge):
		b.unreadable(Build, name, err)
		return
	}
	if err != nil {
		f.Detail = err.Error()
		b.found.add(f)
	}
}

// allShards checks all shards and writes them to the manifest in order. No
// more than a window of shards is ahead of the one to be written next.
func (b *build) allShards(ctx context.Context) error {
	b.Progress.begin(Build, shards)
	var results [shards]chan []built
	for i := range results {
		results[i] = make(chan []built, 1)
	}
	window := make(chan struct{}, len(b.workers)+2)
	next := make(chan int)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(next)
		for i := range shards {
			select {
			case window <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for _, w := range b.workers {
		group.Go(func() error {
			for i := range next {
				results[i] <- b.oneShard(w, i)
				b.Progress.step(1)
			}
			return nil
		})
	}
	group.Go(func() error {
		for i := range shards {
			select {
			case entries := <-results[i]:
				if err := b.write(entries); err != nil {
					return err
				}
				<-window
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return group.Wait()
}

// write adds a shard to the manifest.
func (b *build) write(entries []built) error {
	for i := range entries {
		e := &entries[i]
		rec := manifest.Record{Kind: e.kind, Output: e.id, Size: e.size}
		if e.kind == manifest.Action {
			rec.Action, rec.Output = e.id, e.output
		}
		if err := b.manifest.Write(&rec); err != nil {
			return err
		}
	}
	return nil
}

// oneShard checks all entries of a shard and returns those that are intact, in
// the order of the manifest.
func (b *build) oneShard(w *worker, n int) []built {
	dir := b.shard[n]
	if dir == nil {
		return nil
	}
	var (
		suspects []suspect
		named    []key
		there    []key
		read     int64
	)
	b.mu.Lock()
	intact := make([]built, 0, min(b.largest, maxRoom))
	b.mu.Unlock()
	err := dir.Each(func(e tree.Entry) error {
		look := b.look(w, n, e)
		read += look.bytes
		b.Progress.Done.Add(1)
		switch {
		case look.gone:
			return nil
		case look.finding != nil && look.finding.Severity == Note:
			b.found.add(*look.finding)
			return nil
		case look.finding != nil:
			suspects = append(suspects, suspect{uint8(n), e.Name}) //nolint:gosec // one of 256
		default:
			intact = append(intact, look.entry)
		}
		if look.ref != (buildcache.ID{}) {
			named = append(named, keyOf(look.ref))
		}
		if look.out != (buildcache.ID{}) {
			there = append(there, keyOf(look.out))
		}
		return nil
	})
	if err != nil {
		b.unreadable(Build, dir.Path(), err)
	}
	if cap(intact) > 2*len(intact) {
		intact = slices.Clone(intact)
	}
	slices.SortFunc(intact, func(a, b built) int {
		return cmp.Or(cmp.Compare(rank(a.kind), rank(b.kind)), bytes.Compare(a.id[:], b.id[:]))
	})
	b.read(read)
	b.count(func(c *Counts) { c.BuildEntries += len(intact) + len(suspects) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.largest = max(b.largest, len(intact)+len(intact)/16)
	b.outputs.add(named, there)
	if room := maxSuspects - len(b.suspects); len(suspects) > room {
		for _, s := range suspects[room:] {
			if look := b.look(w, int(s.shard), tree.Entry{Name: s.name}); look.finding != nil {
				b.found.add(*look.finding)
			}
		}
		suspects = suspects[:room]
	}
	b.suspects = append(b.suspects, suspects...)
	return intact
}

func rank(k manifest.Kind) int {
	if k == manifest.Action {
		return 0
	}
	return 1
}

// sight is the result of one look at one entry.
type sight struct {
	entry   built
	finding *Finding
	gone    bool
	bytes   int64
	ref     buildcache.ID // the output it names
	out     buildcache.ID // the output it is
	seen    []tree.Info
}

func (s *sight) found(c Class, sev Severity, path, detail string) {
	s.finding = &Finding{Class: c, Severity: sev, Cache: Build, Path: path, Detail: detail, Remove: []string{path}}
}

// failed turns an error of opening or reading into what it means.
func (s *sight) failed(path string, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.gone = true
	case errors.Is(err, tree.ErrNotRegular):
		s.found(Malformed, SeverityCorrupt, path, err.Error())
	case errors.Is(err, tree.ErrBadMode):
		s.found(BadMode, SeverityCorrupt, path, err.Error())
	default:
		s.found(Unreadable, SeverityUnreadable, path, err.Error())
		s.finding.Remove = nil
	}
}

// look checks one entry of a shard. The type of one that was listed a while ago
// is to be left out.
func (b *build) look(w *worker, n int, e tree.Entry) sight {
	id, kind := buildcache.ParseName(e.Name)
	dir := b.shard[n]
	if kind == buildcache.Other || int(id[0]) != n {
		return sight{finding: &Finding{Class: Stray, Severity: Note, Cache: Build, Path: dir.Join(e.Name), Detail: "no entry of a build cache has this name here"}}
	}
	if kind == buildcache.Action {
		return b.action(w, dir, id, e)
	}
	return b.output(w, dir, id, e)
}

// action checks an action entry and the presence and size of its output.
func (b *build) action(w *worker, dir *tree.Dir, id buildcache.ID, listed tree.Entry) (s sight) {
	path := dir.Join(listed.Name)
	data, info, err := dir.ReadEntry(listed, w.small, 64<<10)
	if errors.Is(err, tree.ErrTooLarge) {
		s.found(Malformed, Recoverable, path, "is far longer than an action entry")
		return s
	}
	if err != nil {
		s.failed(path, err)
		return s
	}
	w.small = data[:0:cap(data)]
	s.bytes = int64(len(data))
	s.seen = append(s.seen, info)
	if info.Mode&0o444 == 0 {
		s.found(BadMode, SeverityCorrupt, path, fmt.Sprintf("mode %04o: it is not readable", info.Mode))
		return s
	}
	e, err := buildcache.ParseEntry(data)
	switch {
	case err != nil && len(data) < buildcache.EntryLen || bytes.IndexByte(data, 0) >= 0:
		s.found(Truncated, Recoverable, path, fmt.Sprintf("action entry of %d bytes: %v", len(data), err))
		return s
	case err != nil:
		s.found(Malformed, Recoverable, path, err.Error())
		return s
	case e.Action != id:
		s.found(Malformed, Recoverable, path, "names another action than its file name")
		return s
	}
	s.entry = built{kind: manifest.Action, id: id, output: e.Output, size: e.Size}
	s.ref = e.Output
	b.outputOf(&s, path, e)
	return s
}

// outputOf checks that the output that an entry names exists and has the
// recorded size.
func (b *build) outputOf(s *sight, path string, e buildcache.Entry) {
	if b.closed[e.Output[0]] {
		return // unreadable, which was reported for the shard
	}
	var info tree.Info
	err := fs.ErrNotExist
	if dir := b.shard[e.Output[0]]; dir != nil {
		info, err = dir.Stat(e.Output.String() + "-d")
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.found(Dangling, Recoverable, path, "its output "+e.Output.OutputPath()+" is gone")
	case err != nil:
		s.failed(path, err)
	case info.Type == tree.Regular && info.Size != e.Size:
		// The second look decides which of the two is truncated: an output of
		// another size is a suspect itself.
		if _, recoverable := b.claims[e.Output]; recoverable {
			return
		}
		s.seen = append(s.seen, info)
		s.found(Inconsistent, Recoverable, path, fmt.Sprintf("records %[2]d bytes for its output %[1]s, which has %[3]d", e.Output.OutputPath(), e.Size, info.Size))
	}
}

// output checks an output by its content.
func (b *build) output(w *worker, dir *tree.Dir, id buildcache.ID, listed tree.Entry) (s sight) {
	path := dir.Join(listed.Name)
	s.out = id
	f, err := dir.OpenEntry(listed)
	if errors.Is(err, tree.ErrNotRegular) {
		if sub, subErr := dir.Sub(listed.Name); subErr == nil {
			b.executable(w, &s, sub, id)
			return s
		}
	}
	if err != nil {
		s.failed(path, err)
		return s
	}
	defer func() { _ = f.Close() }()
	s.entry = built{kind: manifest.Output, id: id, size: f.Size()}
	b.content(w, &s, &f, id, path)
	return s
}

// content hashes an output's file.
func (b *build) content(w *worker, s *sight, f *tree.File, id buildcache.ID, path string) {
	s.seen = append(s.seen, f.Info())
	if f.Info().Mode&0o444 == 0 {
		s.found(BadMode, SeverityCorrupt, path, fmt.Sprintf("mode %04o: it is not readable", f.Info().Mode))
		return
	}
	sum, n, err := w.hasher.File(f)
	s.bytes += n
	switch {
	case err != nil:
		s.failed(path, err)
	case sum != id:
		b.mismatch(s, f, id, path)
	}
}

// mismatch reports an output whose hash is not its name. The go command uses it
// if some entry records its size.
func (b *build) mismatch(s *sight, f *tree.File, id buildcache.ID, path string) {
	what := "output"
	var magic [10]byte
	if _, err := f.ReadAt(magic[:], 0); err == nil && bytes.Equal(magic[:], indexMagic) {
		what = "module index (a build fails on it until it is removed)"
	}
	if b.claims == nil || slices.Contains(b.claims[id], f.Size()) {
		s.found(Corrupt, SeverityCorrupt, path, what+": the hash of its content is not its name")
		return
	}
	s.found(Truncated, Recoverable, path, fmt.Sprintf("%s of %d bytes, a size that no action entry records: it counts as absent", what, f.Size()))
}

// executable checks an output in the form of a directory with one file.
func (b *build) executable(w *worker, s *sight, dir *tree.Dir, id buildcache.ID) {
	defer func() { _ = dir.Close() }()
	s.entry = built{kind: manifest.Executable, id: id}
	files := 0
	err := dir.Each(func(e tree.Entry) error {
		if files++; files > 1 {
			return nil
		}
		f, err := dir.OpenEntry(e)
		if err != nil {
			s.failed(dir.Join(e.Name), err)
			return nil
		}
		s.entry.size = f.Size()
		b.content(w, s, &f, id, dir.Path())
		if info, err := dir.Stat("."); s.finding == nil && (f.Info().Mode&0o111 == 0 || err == nil && info.Mode&0o111 == 0) {
			s.found(BadMode, SeverityCorrupt, dir.Path(), fmt.Sprintf("executable output of mode %04o in a directory of mode %04o: it cannot be run", f.Info().Mode, info.Mode))
		}
		return f.Close()
	})
	switch {
	case err != nil:
		s.failed(dir.Path(), err)
	case files == 0:
		s.found(Truncated, Recoverable, dir.Path(), "executable output without its file: it counts as absent")
	case files > 1:
		s.found(Malformed, SeverityCorrupt, dir.Path(), fmt.Sprintf("executable output with %d files instead of one", files))
	}
}

// recheck checks entries with deviations again, with the sizes that entries
// record for suspicious outputs.
func (b *build) recheck(ctx context.Context) error {
	if len(b.suspects) == 0 {
		return nil
	}
	b.gatherSizes()
	items := make([]int32, len(b.suspects))
	for i := range items {
		items[i] = int32(i) //nolint:gosec // bounded by maxSuspects
	}
	check := func(w *worker, i int32) outcome {
		s := b.look(w, int(b.suspects[i].shard), tree.Entry{Name: b.suspects[i].name})
		o := outcome{identities: s.seen}
		if s.finding != nil && !s.gone {
			o.findings = []Finding{*s.finding}
		}
		return o
	}
	return b.settled(ctx, items, check, func(int32, outcome) {})
}

// gatherSizes reads all entries once more for the sizes that they record for
// suspicious outputs.
func (b *build) gatherSizes() {
	claims := map[buildcache.ID][]int64{}
	for _, s := range b.suspects {
		if id, kind := buildcache.ParseName(s.name); kind == buildcache.Output {
			claims[id] = nil
		}
	}
	if len(claims) > 0 {
		w := b.workers[0]
		for _, dir := range b.shard {
			if dir != nil {
				b.claimsIn(w, dir, claims)
			}
		}
	}
	b.claims = claims
}

func (b *build) claimsIn(w *worker, dir *tree.Dir, claims map[buildcache.ID][]int64) {
	err := dir.Each(func(e tree.Entry) error {
		id, kind := buildcache.ParseName(e.Name)
		if kind != buildcache.Action {
			return nil
		}
		data, _, err := dir.ReadFile(e.Name, w.small, 64<<10)
		if err != nil {
			return nil //nolint:nilerr // reported when the entry itself was checked
		}
		w.small = data[:0:cap(data)]
		entry, err := buildcache.ParseEntry(data)
		if err != nil || entry.Action != id {
			return nil //nolint:nilerr // likewise
		}
		if sizes, ok := claims[entry.Output]; ok {
			claims[entry.Output] = append(sizes, entry.Size)
		}
		return nil
	})
	if err != nil {
		b.unreadable(Build, dir.Path(), err)
	}
}
