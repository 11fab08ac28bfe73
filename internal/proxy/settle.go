package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/store"
)

// A version that no checksum database vouches for may be published twice, and
// instances that could not reach each other meanwhile have different content. A
// client that meets both reports a SECURITY ERROR. So such a version is compared
// before it is served: what an instance of the proxy had first is what all serve.
//
// An instance asks the others by HEAD for what they have stored. It compares again
// when its own files are others, and with those that did not answer. So it is enough
// that the later one of two notices: it could not ask the other one when it fetched.
//
// What all others have agreed to, or did not have, is settled, and marked so: it
// yields to nothing that appears later, so that a store which was altered cannot spread
// what it has.

const (
	// seenHeader of an answer from the store alone is when the content was first
	// stored by an instance of the proxy, in nanoseconds since 1970.
	seenHeader = "Gocache-First-Seen"
	// zipSumHeader is the h1 hash of an archive.
	zipSumHeader = "Gocache-Zip-Sum"
	// settledHeader is set for content that is settled.
	settledHeader = "Gocache-Settled"
	// The attributes of a file are the same.
	seenAttribute    = "user.gocache.seen"
	zipSumAttribute  = "user.gocache.h1"
	settledAttribute = "user.gocache.settled"
	// maxAttribute bounds what is recorded beside a file, in bytes.
	maxAttribute = 128
	// silentPause is how long an instance that did not answer is not asked again,
	// refusedPause the same for one that refused the connection, which costs nothing:
	// it may be starting.
	silentPause  = 10 * time.Second
	refusedPause = 500 * time.Millisecond
	// settledFor is how long a version on which all agree is served without a look at
	// the store.
	settledFor = time.Second
	// maxSettled bounds how many versions are remembered.
	maxSettled = 1 << 16
)

// holding is a file of a store without its content.
type holding struct {
	sum  string // SHA-256
	h1   string // of an archive; empty: not recorded
	seen time.Time
	// settled: all instances have agreed to it.
	settled bool
}

// differs reports whether clients would notice the difference.
func (h *holding) differs(other *holding) bool {
	switch {
	case h == nil || other == nil || h.sum == other.sum:
		return false
	case h.h1 != "" && other.h1 != "":
		return h.h1 != other.h1
	}
	return true
}

// holdings are what a store has of a version.
type holdings struct{ mod, zip *holding }

func (h holdings) empty() bool { return h.mod == nil && h.zip == nil }

// settled reports whether the decisive file is.
func (h holdings) settled() bool { return !h.empty() && h.decisive().settled }

// key is the same as long as the content is.
func (h holdings) key() string {
	key := ""
	for _, file := range []*holding{h.mod, h.zip} {
		if file != nil {
			key += file.sum
		}
		key += "|"
	}
	return key
}

// decisive is the file by which the age of the content is compared: the archive,
// else go.mod.
func (h holdings) decisive() *holding { return cmp.Or(h.zip, h.mod) }

// holding reads what is recorded of a file. Nothing is checked: its content is when
// it is served.
func (s *Store) holding(name string) *holding {
	f, err := s.root.Load().OpenFile(local(name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	h := &holding{seen: info.ModTime()}
	if h.sum, err = readSum(f); err == nil && h.sum == "" {
		h.sum, err = hashFile(f)
	}
	if err != nil {
		return nil
	}
	h.h1, h.settled = readAttribute(f, zipSumAttribute), readAttribute(f, settledAttribute) != ""
	if at, err := strconv.ParseInt(readAttribute(f, seenAttribute), 10, 64); err == nil {
		h.seen = time.Unix(0, at)
	}
	return h
}

// readAttribute returns "" if there is none.
func readAttribute(f *os.File, name string) string {
	buf := make([]byte, maxAttribute)
	n := 0
	err := onDescriptor(f, func(fd int) (err error) {
		n, err = unix.Fgetxattr(fd, name, buf)
		return err
	})
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// describe writes what the store has recorded of a file, for another instance.
func (h *holding) describe(header http.Header) {
	header.Set("ETag", etag(h.sum))
	header.Set(seenHeader, strconv.FormatInt(h.seen.UnixNano(), 10))
	if h.h1 != "" {
		header.Set(zipSumHeader, h.h1)
	}
	if h.settled {
		header.Set(settledHeader, "true")
	}
}

// described is the opposite; nil: it is no answer of an instance.
func described(header http.Header, now time.Time) *holding {
	sum := header.Get("ETag")
	seen, err := strconv.ParseInt(header.Get(seenHeader), 10, 64)
	if err != nil || len(sum) < 3 {
		return nil
	}
	h := &holding{sum: sum[1 : len(sum)-1], h1: header.Get(zipSumHeader), seen: time.Unix(0, seen), settled: header.Get(settledHeader) != ""}
	if h.seen.After(now) {
		h.seen = now
	}
	return h
}

// settlements are what is known of versions that were compared.
type settlements struct {
	mu  sync.Mutex
	all map[module.Version]*settlement
}

// settlement of one version.
type settlement struct {
	mu sync.Mutex
	// key of what this instance had when it asked, and until when that holds if it
	// had nothing.
	key   string
	until time.Time
	// known is what others have; one that did not answer is not in it.
	known map[*peer]holdings
	// first is the instance whose content counts; nil: this one, or none.
	first *peer
	// settled is when all agreed last.
	settled time.Time
}

func (s *settlements) of(m module.Version) *settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.all[m]; one != nil {
		return one
	}
	if s.all == nil || len(s.all) >= maxSettled {
		s.all = map[module.Version]*settlement{}
	}
	one := &settlement{}
	s.all[m] = one
	return one
}

// settle makes sure that this instance has no other content of a version than the
// one that an instance of the proxy had first.
func (f *fetcher) settle(ctx context.Context, t target) {
	if len(f.peers.list) == 0 || f.database != nil && f.vouched(t.module.Path) {
		return
	}
	st := f.settlements.of(t.module)
	st.mu.Lock()
	defer st.mu.Unlock()
	now := f.peers.now()
	if now.Before(st.settled.Add(settledFor)) && !now.Before(st.settled) {
		return
	}
	own := f.holdings(t.module)
	switch {
	case own.empty() && len(f.peers.list) == 1:
		return // there is no choice
	case own.settled():
		st.settled, st.first = now, nil
		return
	}
	if key := own.key(); key != st.key || own.empty() && now.After(st.until) {
		st.key, st.until, st.known = key, now.Add(peerPause), map[*peer]holdings{}
	}
	f.askHoldings(ctx, t.module, st)
	first, reference := f.firstOf(own, st)
	st.first = first
	if first == nil || !own.mod.differs(reference.mod) && !own.zip.differs(reference.zip) {
		if len(st.known) == len(f.peers.list) && !own.empty() {
			st.settled = now
			f.store.settle(t.module)
		}
		return
	}
	f.supersede(t.module, first)
}

// askHoldings asks those instances that have not answered yet.
func (f *fetcher) askHoldings(ctx context.Context, m module.Version, st *settlement) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	open := slices.DeleteFunc(slices.Clone(f.peers.list), func(other *peer) bool {
		_, known := st.known[other]
		return known || !f.peers.asks(other)
	})
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, other := range open {
		asked.Go(func() {
			h, err := f.peers.holdings(ctx, other, m)
			if err != nil {
				return // it is asked again
			}
			mu.Lock()
			defer mu.Unlock()
			st.known[other] = h
		})
	}
	asked.Wait()
}

// firstOf is the instance that had its content first; nil: this one, or none.
func (f *fetcher) firstOf(own holdings, st *settlement) (first *peer, of holdings) {
	of = own
	for _, other := range f.peers.list {
		h, known := st.known[other]
		if !known || h.empty() || f.peers.isQuarantined(other) {
			continue
		}
		if of.empty() || h.before(of) {
			first, of = other, h
		}
	}
	return first, of
}

// before is an order in which all instances agree: what is settled, then archives,
// then what was first.
func (h holdings) before(other holdings) bool {
	switch {
	case h.settled() != other.settled():
		return h.settled()
	case (h.zip != nil) != (other.zip != nil):
		return h.zip != nil
	}
	return h.decisive().before(other.decisive())
}

func (h *holding) before(other *holding) bool {
	if h.seen.Equal(other.seen) {
		return h.sum < other.sum
	}
	return h.seen.Before(other.seen)
}

func (f *fetcher) holdings(m module.Version) (h holdings) {
	mod, err := versionFile(m, ".mod")
	if err != nil {
		return h
	}
	zip, err := versionFile(m, ".zip")
	if err != nil {
		return h
	}
	return holdings{f.store.holding(mod.name), f.store.holding(zip.name)}
}

// settle marks the files of a version. A mark that cannot be written costs another
// comparison.
func (s *Store) settle(m module.Version) {
	for _, ext := range []string{".mod", ".zip"} {
		t, err := versionFile(m, ext)
		if err != nil {
			return
		}
		f, err := s.root.Load().OpenFile(local(t.name), os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		_ = onDescriptor(f, func(fd int) error { return unix.Fsetxattr(fd, settledAttribute, []byte("1"), 0) }) // see above
		_ = f.Close()                                                                                           // read only
	}
}

// supersede removes a version, to be fetched from the instance whose content
// counts. What the agent beside the store has recorded of it does not hold any more,
// which it learns first.
func (f *fetcher) supersede(m module.Version, first *peer) {
	one := store.Superseded{Version: m, By: first.base.Redacted(), Time: f.peers.now()}
	var names []string
	for _, ext := range []string{".zip", ".mod", ".info"} {
		t, err := versionFile(m, ext)
		if err != nil {
			return
		}
		names = append(names, t.name)
		switch e, err := f.store.open(t.name); {
		case err != nil:
		case t.kind == modcache.Zip:
			if sum, err := modcache.NewHasher(0).Zip(&archive{ReadSeeker: e, size: e.size}, m); err == nil {
				one.Zip = sum.H1.String()
			}
			_ = e.Close() // read only
		case t.kind == modcache.Mod:
			_ = e.Close()
			if text, err := f.stored(t, ext); err == nil {
				one.Mod = modcache.SumGoMod(text).String()
			}
		default:
			_ = e.Close()
		}
	}
	f.log.Info("Another content of a version was there first; it replaces the stored one", "module", m.Path, "version", m.Version,
		"by", one.By, "zip", one.Zip, "goMod", one.Mod)
	f.store.metrics.superseded.Inc()
	if err := f.store.supersede(one, names); err != nil {
		f.log.Error(err, "A version that was published twice cannot be replaced", "module", m.Path, "version", m.Version)
	}
}

func (s *Store) supersede(one store.Superseded, names []string) error {
	s.superseding.Lock()
	defer s.superseding.Unlock()
	root := s.root.Load()
	if err := store.AddSuperseded(root, one); err != nil {
		s.log.Error(err, "It cannot be recorded that a version was replaced") // a full disk keeps no version
	}
	for _, name := range names {
		if err := root.Remove(local(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// asks reports whether an instance is asked now.
func (p *peers) asks(other *peer) bool {
	return p.now().UnixNano() >= other.silent.Load() && !p.isQuarantined(other)
}

// holdings asks another instance what it has of a version.
func (p *peers) holdings(ctx context.Context, from *peer, m module.Version) (h holdings, err error) {
	for ext, file := range map[string]**holding{".mod": &h.mod, ".zip": &h.zip} {
		t, err := versionFile(m, ext)
		if err != nil {
			return h, err
		}
		if *file, err = p.head(ctx, from, t.name); err != nil {
			return h, err
		}
	}
	return h, nil
}

// head asks for one file; nil: it is not there.
func (p *peers) head(ctx context.Context, from *peer, name string) (*holding, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, fileURL(from.base, name).String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set(storeOnlyHeader, "true")
	resp, err := p.asker.client.Do(req)
	if err != nil {
		p.metrics.peer("failed")
		switch {
		case errors.Is(ctx.Err(), context.Canceled): // the client has left
		case isTimeout(err):
			from.pause.Store(p.now().Add(peerPause).UnixNano())
			from.silent.Store(p.now().Add(silentPause).UnixNano())
		default:
			from.silent.Store(p.now().Add(refusedPause).UnixNano())
		}
		return nil, err
	}
	drain(resp)
	from.pause.Store(0) // it is back
	switch resp.StatusCode {
	case http.StatusOK:
		p.metrics.peer("hit")
		return described(resp.Header, p.now()), nil
	case http.StatusNotFound, http.StatusGone:
		p.metrics.peer("miss")
		return nil, nil //nolint:nilnil // it has none
	}
	p.metrics.peer("failed")
	return nil, fmt.Errorf("%s: %w", resp.Status, fs.ErrInvalid)
}

// chosen is the instance that is asked first for a version; nil: any.
func (f *fetcher) chosen(m module.Version) *peer {
	f.settlements.mu.Lock()
	st := f.settlements.all[m]
	f.settlements.mu.Unlock()
	if st == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.first
}
