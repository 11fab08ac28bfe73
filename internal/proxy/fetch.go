package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	modzip "golang.org/x/mod/zip"
	"golang.org/x/sync/semaphore"

	"gocache.dev/operator/internal/domain/modcache"
)

const (
	// stallAfter is how long the body of an answer may be silent.
	stallAfter = time.Minute
	// longestBody is how much longer than the wait for an answer its body may take.
	longestBody = 6
	// freeArchive is the size up to which archives are not counted in bytes.
	freeArchive = 8 << 20
	// textsPerArchive is how many texts may be fetched for each archive that may.
	textsPerArchive = 4
	// smallText is the size up to which any number of texts is in memory at once,
	// of larger ones largeTexts.
	smallText, largeTexts = 1 << 20, 4
)

// fetcher fetches each file once at a time however many clients ask for it, and
// to its end even if they leave: the next request then finds it in the store.
type fetcher struct {
	store    *Store
	upstream *upstream
	// versionControl is asked for private modules in place of the upstream; nil:
	// there is none.
	versionControl *versionControl
	peers          *peers
	database       *database // nil: none vouches for anything
	vouched        func(modulePath string) bool
	tempDir        string
	// timeout is how long an answer may take to begin, or a text to arrive.
	timeout time.Duration
	// texts and archives bound how many are fetched at once, bytes the sum of the
	// sizes of archives.
	texts, archives, bytes *gate
	large                  *semaphore.Weighted
	minFree                uint64
	log                    logr.Logger
	// late is set while the upstream takes long, privateLate while version control
	// does.
	late, privateLate atomic.Bool
	// turns has one that adds to what is known of a file wait for another.
	turns [64]sync.Mutex

	mu      sync.Mutex
	flights map[string]*flight
}

// flight is one fetch.
type flight struct {
	target
	begun chan struct{} // closed when the archive's first bytes are there
	done  chan struct{} // closed at the end
	spool *spool        // of an archive, from begun or done on

	// The rest is valid when done is closed.
	err  error
	text []byte
	sum  string

	fetcher *fetcher
	users   int // and the fetch itself; the fetcher's mu protects it
	waiting context.CancelFunc
}

// busy is a fetch that did not get its turn.
type busy struct{ err error }

func (e *busy) Error() string { return "this instance fetches as much as it may; try again" }
func (e *busy) Unwrap() error { return e.err }

// join returns the fetch of a file, and begins it if there is none. The caller
// releases it.
func (f *fetcher) join(ctx context.Context, t target, client string) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl, ok := f.flights[t.name]; ok {
		fl.users++
		return fl
	}
	// It outlives the request that began it, except in a queue.
	ctx = withOutcome(context.WithoutCancel(ctx), &outcome{requestID: outcomeOf(ctx).id(), fetch: true})
	turn, cancel := context.WithTimeout(ctx, f.timeout)
	fl := &flight{target: t, begun: make(chan struct{}), done: make(chan struct{}), fetcher: f, users: 2, waiting: cancel}
	if f.flights == nil {
		f.flights = map[string]*flight{}
	}
	f.flights[t.name] = fl
	go func() {
		defer cancel()
		defer fl.release()
		err := f.fetch(ctx, turn, fl, client)
		f.mu.Lock()
		delete(f.flights, t.name)
		f.mu.Unlock()
		fl.err = err
		close(fl.done)
	}()
	return fl
}

// release ends the use of a fetch.
func (fl *flight) release() {
	f := fl.fetcher
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.users--
	switch {
	case fl.users == 1:
		fl.waiting() // a fetch without clients does not wait for its turn
	case fl.users == 0 && fl.spool != nil:
		fl.spool.close()
	}
}

func (f *fetcher) fetch(ctx, turn context.Context, fl *flight, client string) (err error) {
	if fl.kind == modcache.Zip {
		return f.fetchArchive(ctx, turn, fl, client)
	}
	release, err := f.texts.acquire(turn, client, 1)
	if err != nil {
		return &busy{err}
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	defer func() {
		if !isTimeout(err) {
			f.lateness(fl.target).Store(false)
		}
	}()
	return f.walk(ctx, fl, func(resp *http.Response) error {
		text, err := f.readText(ctx, resp)
		if err != nil {
			return err
		}
		if text, err = f.checkText(ctx, fl.target, text); err != nil {
			return err
		}
		if fl.mutable {
			text = f.advance(fl.target, text)
		} else {
			f.store.stored(fl.name, f.store.write(fl.name, bytes.NewReader(text)))
		}
		fl.text, fl.sum = text, sumOf(text)
		return nil
	})
}

func (f *fetcher) readText(ctx context.Context, resp *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, smallText))
	if err != nil || len(text) < smallText {
		return text, broken(err)
	}
	if err := f.large.Acquire(ctx, 1); err != nil {
		return nil, &busy{err}
	}
	defer f.large.Release(1)
	rest, err := io.ReadAll(io.LimitReader(resp.Body, maxText-smallText+1))
	if err != nil {
		return nil, broken(err)
	}
	if len(text)+len(rest) > maxText {
		return nil, &badAnswer{fmt.Errorf("it has more than %d bytes", maxText)}
	}
	return append(text, rest...), nil
}

// fetchArchive takes the count of archives while the upstream begins to answer,
// and for as long as a small one takes. A large one waits for its share of the
// bytes instead; if that takes long, the upstream is asked again after it. One
// without a length pauses when it turns out to be large.
func (f *fetcher) fetchArchive(ctx, turn context.Context, fl *flight, client string) error {
	ctx, cancel := context.WithTimeout(ctx, longestBody*f.timeout)
	defer cancel()
	var size int64 // that the bytes are reserved for
	reserved := func() {}
	defer func() { reserved() }()
	for {
		release, err := f.archives.acquire(turn, client, 1)
		if err != nil {
			return &busy{err}
		}
		err = f.walk(ctx, fl, func(resp *http.Response) error {
			need := resp.ContentLength
			if need > modzip.MaxZipFile {
				return &badAnswer{fmt.Errorf("it has %d bytes, more than a module may have", need)}
			}
			if need > freeArchive && need > size {
				reserved()
				var ok bool
				if reserved, ok = f.bytes.try(client, need); !ok {
					size, reserved = 0, func() {}
					return &tooMuch{need}
				}
				size = need
			}
			if need > freeArchive {
				release() // its bytes bound it
			}
			return f.receive(ctx, fl, resp, func() error {
				if need >= 0 || size >= modzip.MaxZipFile {
					return nil
				}
				reserved()
				if reserved, err = f.bytes.acquire(ctx, client, modzip.MaxZipFile); err != nil {
					size, reserved = 0, func() {}
					return &busy{err}
				}
				size = modzip.MaxZipFile
				release()
				return nil
			})
		})
		release()
		denied, ok := errors.AsType[*tooMuch](err)
		if !ok {
			return err
		}
		if reserved, err = f.bytes.acquire(turn, client, denied.bytes); err != nil {
			reserved = func() {}
			return &busy{err}
		}
		size = denied.bytes
	}
}

// tooMuch is an archive for which there is no room now.
type tooMuch struct{ bytes int64 }

func (e *tooMuch) Error() string { return "waits for other archives" }

// receive takes the body of an answer, checks it, and stores it.
// large is called when it turns out to be a large one.
func (f *fetcher) receive(ctx context.Context, fl *flight, resp *http.Response, large func() error) error {
	s, err := newSpool(resp.ContentLength, f.place(fl.name, resp.ContentLength), f.tempDir)
	if err != nil {
		return err
	}
	f.mu.Lock()
	previous := fl.spool
	fl.spool = s
	f.mu.Unlock()
	if previous != nil { // of an attempt that no reader has seen
		previous.close()
	}
	err = f.copy(fl, resp, large)
	if err == nil {
		stop := s.trickling()
		err = f.checkArchive(ctx, fl.target, s)
		if err == nil && s.pending != nil {
			f.store.stored(fl.name, s.pending.commit(s.sum()))
		}
		stop()
		f.store.evict.makeRoom(0)
	}
	if err == nil {
		fl.sum = s.sum()
		s.complete()
		return nil
	}
	if s.pending != nil {
		s.pending.discard()
	}
	if s.begun() {
		return &brokenOff{err}
	}
	return err
}

// place is where an archive will be stored; nil if there is no room for it.
func (f *fetcher) place(name string, size int64) *pending {
	f.store.evict.makeRoom(size)
	p, err := f.store.createWithin(name, size, f.minFree)
	if err != nil {
		f.store.stored(name, err)
		return nil
	}
	return p
}

// copy takes the body of an answer as it comes.
func (f *fetcher) copy(fl *flight, resp *http.Response, large func() error) error {
	buf := make([]byte, 64<<10)
	begun := false
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if fl.spool.written+int64(n) > modzip.MaxZipFile {
				return &badAnswer{fmt.Errorf("it has more than %d bytes", int64(modzip.MaxZipFile))}
			}
			if fl.spool.written <= freeArchive && fl.spool.written+int64(n) > freeArchive {
				if err := large(); err != nil {
					return err
				}
			}
			if _, err := fl.spool.Write(buf[:n]); err != nil {
				return &localTrouble{err}
			}
			if !begun && fl.spool.begun() {
				begun = true
				close(fl.begun)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
	}
}

// brokenOff is an error after the first bytes have gone to clients: there is no
// other attempt, and their connections end.
type brokenOff struct{ err error }

func (e *brokenOff) Error() string { return e.err.Error() }
func (e *brokenOff) Unwrap() error { return e.err }

// localTrouble is an error of this instance, and not of an upstream.
type localTrouble struct{ err error }

func (e *localTrouble) Error() string { return e.err.Error() }
func (e *localTrouble) Unwrap() error { return e.err }

// interrupted is an answer that ended early.
type interrupted struct{ err error }

func (e *interrupted) Error() string { return "the answer broke off: " + e.err.Error() }
func (e *interrupted) Unwrap() error { return e.err }

func broken(err error) error {
	if err == nil {
		return nil
	}
	return &interrupted{err}
}

// serve answers a request with what a fetch brings.
func (fl *flight) serve(w http.ResponseWriter, r *http.Request) error {
	wait := fl.begun
	if r.Header.Get("Range") != "" {
		wait = nil // a part of it is served when its size is known
	}
	select {
	case <-wait:
		select {
		case <-fl.done: // for a validator
		default:
			return fl.follow(w, r)
		}
	case <-fl.done:
	case <-r.Context().Done():
		return fmt.Errorf("fetch %s: %w", fl.name, r.Context().Err())
	}
	if fl.err != nil {
		return fl.err
	}
	w.Header().Set("ETag", etag(fl.sum))
	var content io.ReadSeeker = bytes.NewReader(fl.text)
	if fl.spool != nil {
		content = io.NewSectionReader(fl.spool.file, 0, fl.spool.written)
	}
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

// follow sends an archive while it arrives. If it turns out to be wrong, the
// connection ends before the archive does.
func (fl *flight) follow(w http.ResponseWriter, r *http.Request) error {
	s := fl.spool
	if s.size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(s.size, 10))
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	buf := make([]byte, 64<<10)
	for off := int64(0); ; {
		available, err := s.wait(r.Context(), off, fl.done)
		if err != nil {
			return &terminated{err, s.size >= 0}
		}
		if available == off { // the end
			if fl.err != nil {
				return &terminated{fl.err, s.size >= 0}
			}
			return nil
		}
		n, err := s.readAt(buf, off, available)
		if err != nil {
			return &terminated{err, s.size >= 0}
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return nil //nolint:nilerr // the client has left
		}
		off += int64(n)
		if off == available {
			_ = http.NewResponseController(w).Flush() // not every ResponseWriter can
		}
	}
}

// terminated is an answer whose head was sent, and that ends early. The server
// closes the connection when a body is shorter than the announced length; without
// one, only a panic does that.
type terminated struct {
	err     error
	noticed bool
}

func (e *terminated) Error() string { return e.err.Error() }
func (e *terminated) Unwrap() error { return e.err }

// isLocal reports whether an error is about this instance's own files.
func isLocal(err error) bool {
	local, _ := errors.AsType[*os.PathError](err)
	mine, _ := errors.AsType[*localTrouble](err)
	return local != nil || mine != nil
}
