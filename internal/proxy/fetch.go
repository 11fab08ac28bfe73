package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/goproxy/goproxy"
	"golang.org/x/mod/module"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"gocache.dev/operator/internal/domain/modcache"
)

// renewAfter is how old a library fetcher is when a failure makes us replace
// it: its checksum database client remembers every failed lookup for as long
// as it lives.
const renewAfter = 10 * time.Second

// fetcher fetches each version once at a time however many clients ask for
// it, and to its end even if they leave: the next attempt then finds it in
// the store.
type fetcher struct {
	store   *Store
	make    func() goproxy.Fetcher
	direct  string                    // GONOPROXY patterns; what matches is not fetched here
	vouched func(module.Version) bool // whether the library compares it with a checksum database
	timeout time.Duration
	slots   *semaphore.Weighted
	flights singleflight.Group
	now     func() time.Time

	mu    sync.Mutex
	inner goproxy.Fetcher
	born  time.Time
}

// Query implements goproxy.Fetcher.
func (f *fetcher) Query(ctx context.Context, path, query string) (version string, at time.Time, err error) {
	if err := f.refuse(ctx, path); err != nil {
		return "", time.Time{}, err
	}
	version, at, err = f.current().Query(ctx, path, query)
	if err == nil && !modcache.IsVersion(module.Version{Path: path, Version: version}) {
		err = &badAnswer{fmt.Errorf("%s@%s resolves to %.60q, which is no version of this module", path, query, version)}
	}
	return version, at, f.failed(ctx, err)
}

// List implements goproxy.Fetcher.
func (f *fetcher) List(ctx context.Context, path string) ([]string, error) {
	if err := f.refuse(ctx, path); err != nil {
		return nil, err
	}
	versions, err := f.current().List(ctx, path)
	return versions, f.failed(ctx, err)
}

// Download implements goproxy.Fetcher.
func (f *fetcher) Download(ctx context.Context, path, version string) (info, mod, zip io.ReadSeekCloser, err error) {
	if err := f.refuse(ctx, path); err != nil {
		return nil, nil, nil, err
	}
	escaped, err := escapedVersion(path, version)
	if err != nil {
		return nil, nil, nil, err
	}
	flight := f.flights.DoChan(escaped, func() (any, error) { return nil, f.intoStore(ctx, escaped, path, version) })
	select {
	case result := <-flight:
		err = result.Err
	case <-ctx.Done():
		err = fmt.Errorf("fetch %s@%s: %w", path, version, ctx.Err())
	}
	if err != nil {
		outcomeOf(ctx).fetched(err)
		return nil, nil, nil, err
	}
	if info, mod, zip, ok := f.stored(escaped); ok {
		return info, mod, zip, nil
	}
	// The store took none of it. Then every client fetches for itself.
	info, mod, zip, err = f.download(ctx, path, version)
	return info, mod, zip, f.failed(ctx, err)
}

// intoStore fetches one version and stores it. It outlives the request that
// began it.
func (f *fetcher) intoStore(ctx context.Context, escaped, path, version string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.timeout)
	defer cancel()
	info, mod, zip, err := f.download(ctx, path, version)
	if err != nil {
		return outcomeOf(ctx).explain(err)
	}
	for _, file := range []struct {
		ext     string
		content io.ReadSeekCloser
	}{{".info", info}, {".mod", mod}, {".zip", zip}} {
		err = errors.Join(err, f.store.Put(ctx, escaped+file.ext, file.content), file.content.Close())
	}
	return err
}

// download asks the upstream, within the number of fetches allowed at once.
func (f *fetcher) download(ctx context.Context, path, version string) (info, mod, zip io.ReadSeekCloser, err error) {
	if err := f.slots.Acquire(ctx, 1); err != nil {
		return nil, nil, nil, fmt.Errorf("wait for a free fetch: %w", err)
	}
	defer f.slots.Release(1)
	inner := f.current()
	info, mod, zip, err = inner.Download(ctx, path, version)
	if err != nil && ctx.Err() == nil && f.renew(inner) {
		info, mod, zip, err = f.current().Download(ctx, path, version)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	m := module.Version{Path: path, Version: version}
	if err := checkAnswer(m, info, mod, zip, f.vouched(m)); err != nil {
		return nil, nil, nil, errors.Join(&badAnswer{fmt.Errorf("%s: %w", m, err)}, info.Close(), mod.Close(), zip.Close())
	}
	return info, mod, zip, nil
}

// stored opens the three files of a version if the store has them all.
func (f *fetcher) stored(escaped string) (info, mod, zip io.ReadSeekCloser, ok bool) {
	var files [3]*entry
	for i, ext := range []string{".info", ".mod", ".zip"} {
		e, err := f.store.open(escaped + ext)
		if err != nil {
			for _, opened := range files[:i] {
				_ = opened.Close() // read only
			}
			return nil, nil, nil, false
		}
		files[i] = e
	}
	return files[0], files[1], files[2], true
}

func (f *fetcher) current() goproxy.Fetcher {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inner == nil {
		f.inner, f.born = f.make(), f.now()
	}
	return f.inner
}

// renew replaces a fetcher that failed, and reports whether it did.
func (f *fetcher) renew(failed goproxy.Fetcher) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inner != failed || f.now().Sub(f.born) < renewAfter {
		return false
	}
	f.inner, f.born = f.make(), f.now()
	return true
}

// failed records why a fetch failed for the answer to the client.
func (f *fetcher) failed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	o := outcomeOf(ctx)
	err = o.explain(err)
	o.fetched(err)
	return err
}

// refuse answers for modules that the settings send around every proxy.
func (f *fetcher) refuse(ctx context.Context, path string) error {
	if !module.MatchPrefixPatterns(f.direct, path) {
		return nil
	}
	err := &notServed{path}
	outcomeOf(ctx).fetched(err)
	return err
}

// notServed is a 404: the client may fetch the module by itself.
type notServed struct{ path string }

func (e *notServed) Error() string {
	return fmt.Sprintf("%s matches GONOPROXY or GOPRIVATE of this proxy, which does not fetch directly: "+
		"name an upstream proxy that serves it, or let clients fetch it themselves", e.path)
}
func (*notServed) Is(target error) bool { return target == fs.ErrNotExist }

func escapedVersion(path, version string) (string, error) {
	p, err := module.EscapePath(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	v, err := module.EscapeVersion(version)
	if err != nil {
		return "", fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return p + "/@v/" + v, nil
}
