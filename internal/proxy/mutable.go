package proxy

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"gocache.dev/operator/internal/domain/modcache"
)

// freshTimeout is how long clients wait for the upstream's answer when the store has
// one that can be served in its place.
const freshTimeout = 500 * time.Millisecond

// freshPrivateTimeout is the same for version control, where an answer takes some
// seconds: a version that was just pushed is asked for by those who pushed it.
const freshPrivateTimeout = 15 * time.Second

// errLate is an upstream that takes longer; its answer is for the next client.
var errLate = fmt.Errorf("the upstream takes long, and the store has an answer: %w", os.ErrDeadlineExceeded)

// waitFor waits for a fetch of what may change: to its end if there is nothing to
// serve in its place, else for a moment, or not at all when the last one took
// longer.
func (f *fetcher) waitFor(ctx context.Context, fl *flight) error {
	var enough <-chan time.Time
	if f.store.has(fl.name) {
		timer := time.NewTimer(f.freshness(fl.target))
		defer timer.Stop()
		enough = timer.C
		if f.lateness(fl.target).Load() {
			select {
			case <-fl.done:
				return nil
			default:
				return errLate
			}
		}
	}
	select {
	case <-fl.done:
	case <-enough:
		f.lateness(fl.target).Store(true)
		return errLate
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// lateness is whether the source of a module takes long.
func (f *fetcher) lateness(t target) *atomic.Bool {
	if f.versionControl.serves(t.module.Path) {
		return &f.privateLate
	}
	return &f.late
}

// freshness is how long clients wait for the source of a module.
func (f *fetcher) freshness(t target) time.Duration {
	if f.versionControl.serves(t.module.Path) {
		return freshPrivateTimeout
	}
	return freshTimeout
}

// known is what the store has of a mutable file; nil: nothing.
func (f *fetcher) known(t target) []byte {
	e, err := f.store.open(t.name)
	if err != nil {
		return nil
	}
	defer func() { _ = e.Close() }() // read only
	text, err := io.ReadAll(io.LimitReader(e, maxText))
	if err != nil {
		return nil
	}
	return text
}

// advance stores an answer that may differ from the last one, and returns what
// clients get: a version that was listed stays listed, and @latest does not go
// back, whichever of several servers behind one address answered.
func (f *fetcher) advance(t target, text []byte) []byte {
	turn := &f.turns[crc32.ChecksumIEEE([]byte(t.name))%uint32(len(f.turns))]
	turn.Lock()
	defer turn.Unlock()
	known := f.known(t)
	text = merge(t, known, text)
	if known == nil || !bytes.Equal(known, text) {
		f.store.stored(t.name, f.store.write(t.name, bytes.NewReader(text)))
	}
	return text
}

// merge is what two answers to one request are together, the other being the
// later one. An answer that has all that the known one has stays as it is.
func merge(t target, known, other []byte) []byte {
	switch {
	case known == nil:
		return other
	case other == nil:
		return known
	case t.kind == modcache.List:
		return union(known, other)
	case t.module.Version == "latest" && isOlder(version(other), version(known)):
		return known
	}
	return other
}

// union of two lists: the other one, and after it what only the known one has.
func union(known, other []byte) []byte {
	before, errBefore := modcache.ParseList(ended(known))
	now, errNow := modcache.ParseList(ended(other))
	if errBefore != nil || errNow != nil {
		return other
	}
	missing := slices.DeleteFunc(before, func(v string) bool { return slices.Contains(now, v) })
	if len(missing) == 0 {
		return other
	}
	return append(slices.Clip(ended(other)), modcache.FormatList(missing)...)
}

// version that an .info names.
func version(info []byte) string {
	meta, err := modcache.ParseInfo(info)
	if err != nil {
		return ""
	}
	return meta.Version
}

// isOlder reports whether @latest would go back from one version to another. It
// goes from a commit to a release candidate to a release, and from a release
// without go.mod to any with one.
func isOlder(v, than string) bool {
	if a, b := rank(v), rank(than); a != b {
		return a < b
	}
	if build := semver.Build(v); build == "" && semver.Build(than) != "" {
		return false
	}
	return semver.Compare(v, than) < 0
}

func rank(v string) int {
	switch {
	case !semver.IsValid(v):
		return 0
	case module.IsPseudoVersion(v):
		return 1
	case semver.Prerelease(v) != "":
		return 2
	}
	return 3
}
