package proxy

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/goproxy/goproxy"
	"golang.org/x/sync/semaphore"
)

// scripted is a fetcher of the library with a scripted upstream.
type scripted struct {
	release chan struct{} // a download waits for it
	status  int           // of the upstream's last answer
	last    error         // of the upstream's last request without an answer
	err     error         // that the library makes of both

	mu        sync.Mutex
	downloads int
}

func (s *scripted) fail(ctx context.Context) error {
	outcomeOf(ctx).upstream(s.status, s.last)
	return s.err
}

func (s *scripted) Query(ctx context.Context, _, _ string) (string, time.Time, error) {
	return "", time.Time{}, s.fail(ctx)
}

func (s *scripted) List(ctx context.Context, _ string) ([]string, error) { return nil, s.fail(ctx) }

func (s *scripted) Download(ctx context.Context, _, _ string) (info, mod, zip io.ReadSeekCloser, err error) {
	s.mu.Lock()
	s.downloads++
	s.mu.Unlock()
	<-s.release
	return nil, nil, nil, s.fail(ctx)
}

func fetching(t *testing.T, s *scripted) *fetcher {
	t.Helper()
	store, err := OpenStore(t.TempDir(), logr.Discard(), newMetrics())
	if err != nil {
		t.Fatal(err)
	}
	return &fetcher{store: store, make: func() goproxy.Fetcher { return s }, timeout: time.Hour, slots: semaphore.NewWeighted(1), now: time.Now}
}

// slow is an error as of a TLS handshake that takes too long: the library tries
// it again, and this package ends that.
type slow struct{}

func (slow) Error() string   { return "handshake timeout" }
func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

// Whatever was requested, the answer to the client is the last error of the upstream, and
// not that the retries ended.
func TestFailedFetchesAreExplained(t *testing.T) {
	gaveUp := errGiveUp{"https://upstream.test"}
	released := make(chan struct{})
	close(released)
	for name, tt := range map[string]struct {
		status int
		last   error
		err    error
		want   int // the status for the client; 0: the library's own answer is right
	}{
		"refused":               {http.StatusForbidden, nil, errors.New("bad upstream"), http.StatusForbidden},
		"in trouble":            {http.StatusServiceUnavailable, nil, errors.New("bad upstream"), http.StatusBadGateway},
		"gave up on timeouts":   {0, slow{}, gaveUp, http.StatusGatewayTimeout},
		"gave up on resets":     {0, io.ErrUnexpectedEOF, gaveUp, http.StatusBadGateway},
		"gave up on answers":    {http.StatusBadGateway, nil, gaveUp, http.StatusBadGateway},
		"no temporary files":    {0, nil, &fs.PathError{Op: "open", Path: "/tmp/x", Err: os.ErrPermission}, http.StatusInternalServerError},
		"not there":             {http.StatusNotFound, nil, fs.ErrNotExist, 0},
		"no time left":          {0, nil, context.DeadlineExceeded, http.StatusGatewayTimeout},
		"an answer that breaks": {http.StatusOK, nil, io.ErrUnexpectedEOF, http.StatusBadGateway},
	} {
		for what, ask := range map[string]func(*fetcher, context.Context) error{
			"query": func(f *fetcher, ctx context.Context) error {
				_, _, err := f.Query(ctx, "example.com/m", "latest")
				return err
			},
			"list": func(f *fetcher, ctx context.Context) error { _, err := f.List(ctx, "example.com/m"); return err },
			"download": func(f *fetcher, ctx context.Context) error {
				_, _, _, err := f.Download(ctx, "example.com/m", "v1.0.0")
				return err
			},
		} {
			o := &outcome{}
			err := ask(fetching(t, &scripted{release: released, status: tt.status, last: tt.last, err: tt.err}), withOutcome(t.Context(), o))
			if err == nil || o.cause() == nil {
				t.Errorf("%s, %s: %v, for the log: %v", name, what, err, o.cause())
			}
			if got, text := o.trouble(); got != tt.want || (text == "") != (tt.want == 0) {
				t.Errorf("%s, %s: %d %q, want %d", name, what, got, text, tt.want)
			}
		}
	}
}

// Requests that wait for the fetch of another request are answered with the status
// that the upstream gave to that one: they sent none of their own.
func TestWaitersGetTheUpstreamsStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{release: make(chan struct{}), status: http.StatusForbidden, err: errors.New("bad upstream")}
		f := fetching(t, s)
		var outcomes [3]outcome
		var clients sync.WaitGroup
		for i := range outcomes {
			clients.Go(func() {
				if _, _, _, err := f.Download(withOutcome(t.Context(), &outcomes[i]), "example.com/m", "v1.0.0"); err == nil {
					t.Errorf("client %d: no error", i)
				}
			})
		}
		synctest.Wait() // all of them wait for one download
		close(s.release)
		clients.Wait()
		for i := range outcomes {
			if status, text := outcomes[i].trouble(); status != http.StatusForbidden {
				t.Errorf("client %d: %d %q, want 403", i, status, text)
			}
		}
		if s.downloads != 1 {
			t.Errorf("%d downloads, want 1", s.downloads)
		}
	})
}

// A fetcher of the library that fails is replaced when it is old, and asked
// again at once: its checksum database client remembers every failure.
func TestRenewsAnOldFetcher(t *testing.T) {
	for age, want := range map[time.Duration]int{0: 1, renewAfter - 1: 1, renewAfter: 2, time.Hour: 2} {
		released := make(chan struct{})
		close(released)
		s := &scripted{release: released, err: errors.New("missing from the database")}
		f := fetching(t, s)
		now := time.Unix(1_700_000_000, 0)
		made := 0
		f.now, f.make = func() time.Time { return now }, func() goproxy.Fetcher { made++; return &wrapped{s, made} }
		f.current()
		now = now.Add(age)
		if _, _, _, err := f.Download(t.Context(), "example.com/m", "v1.0.0"); err == nil {
			t.Error("no error")
		}
		if made != want || s.downloads != want {
			t.Errorf("at the age of %v: %d fetchers, %d downloads; want %d", age, made, s.downloads, want)
		}
	}
}

// wrapped makes fetchers that differ.
type wrapped struct {
	*scripted
	n int
}
