package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
)

// Options are the command's flags.
type Options struct {
	// Flags select the checks and the trust data. A store without a Layout has
	// an unsupported format: it is guarded, and not checked.
	caches.Flags
	Listen string
	// Prepare makes the store's directory and marks the volume.
	Prepare bool
	// Server is a page of the server beside; empty: it is not asked.
	Server string
	// MinFree is how many bytes the volume must have left.
	MinFree int64
	// VolumeSize is the size of the volume in bytes. Where its file system is larger,
	// others share it, and only the volume's own files count. 0: not known.
	VolumeSize int64
	// Interval between checks; 0: only at the start and when asked.
	Interval time.Duration
	// BytesPerSecond bounds a check beside a server that serves; 0: no bound.
	BytesPerSecond int64
	// Withdraw removes what a check finds wrong, for the server to fetch it
	// again.
	Withdraw bool
	// TokenFile holds what a request for a check must bring; empty: none is taken.
	TokenFile string
	State     string // path of the manifest of intact content; empty: nothing is recorded
	Once      bool   // check once and return

	Clock  func() time.Time
	Stderr io.Writer
}

// Watch is a running watch.
type Watch struct {
	Options
	history history
	guard   *guard
	sampler *sampler
	// sampling is held from when a sample is made until it is published.
	sampling sync.Mutex
	orders   *rate.Limiter // of checks
	asked    chan struct{} // a check is requested
	usage    *usage
	metrics  *metrics
}

// New prepares a watch.
func New(o Options) (*Watch, error) {
	if o.Prepare {
		if err := prepare(o.Store); err != nil {
			return nil, err
		}
	}
	g, err := newGuard(o)
	if err != nil {
		return nil, err
	}
	u := newUsage(o)
	g.usage = u
	s := &sampler{dir: o.Store, layout: store.Layout(o.Layout)}
	return &Watch{Options: o, guard: g, sampler: s, asked: make(chan struct{}, 1), orders: rate.NewLimiter(maxOrders, orderBurst), usage: u, metrics: newMetrics(u)}, nil
}

// Run serves and checks until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	if w.Once && w.Layout == "" {
		return nil // it was prepared
	}
	if w.Once || w.Listen == "" {
		return w.loop(ctx)
	}
	server := &http.Server{Addr: w.Listen, Handler: w.Handler(), ReadHeaderTimeout: 5 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	group.Go(func() error {
		w.guard.run(ctx)
		return nil
	})
	group.Go(func() error {
		w.usage.keepMeasuring(ctx)
		return nil
	})
	if w.Layout != "" {
		group.Go(func() error { return w.loop(ctx) })
		group.Go(func() error { return w.keepSampling(ctx) })
	}
	return group.Wait()
}

// loop checks at the start, after each interval, and when asked.
func (w *Watch) loop(ctx context.Context) error {
	var due <-chan time.Time
	if w.Interval > 0 {
		tick := time.NewTicker(w.Interval)
		defer tick.Stop()
		due = tick.C
	}
	for {
		v := w.Check(ctx)
		if ctx.Err() != nil {
			return nil
		}
		_, _ = fmt.Fprintf(w.Stderr, "store %s: %s: %s\n", w.Store, v.Verdict, v.Message)
		if w.Once {
			return nil
		}
		select {
		case <-due:
		case <-w.asked:
		case <-ctx.Done():
			return nil
		}
	}
}

// Check checks the store now and remembers the verdict.
func (w *Watch) Check(ctx context.Context) integrity.Verdict {
	began, unhurried := w.history.begin(w.Clock())
	v, err := w.check(ctx, began, unhurried)
	if err != nil {
		v = integrity.Verdict{Verdict: integrity.Inconclusive, Message: err.Error()}
	}
	if ctx.Err() != nil {
		return v // being stopped is no verdict
	}
	ended := w.Clock()
	v.DurationSeconds = ended.Sub(began).Round(time.Millisecond).Seconds()
	w.sample() // the report of a check that has ended always has one
	w.history.end(v, ended)
	w.metrics.publish(v, ended)
	return v
}

func (w *Watch) check(ctx context.Context, now time.Time, unhurried bool) (integrity.Verdict, error) {
	flags := w.Flags
	if w.State != "" {
		if _, err := os.Stat(w.State); err == nil {
			flags.Baseline = w.State
		} else if !errors.Is(err, fs.ErrNotExist) {
			return integrity.Verdict{}, err
		}
	}
	o, err := flags.Options(ctx, now)
	if err != nil {
		return integrity.Verdict{}, err
	}
	if unhurried {
		o.Pace = pace(w.BytesPerSecond)
	}
	if w.Withdraw {
		if err := empty(w.Store); err != nil {
			return integrity.Verdict{}, err
		}
		o.Withdraw = w.withdraw
	}
	if w.State == "" {
		return integrity.Check(ctx, o)
	}
	return w.remember(ctx, o)
}

var errNotIntact = errors.New("not remembered")

// remember runs a check and keeps the manifest, if the store is intact.
func (w *Watch) remember(ctx context.Context, o integrity.Options) (v integrity.Verdict, err error) {
	err = record.WriteManifest(w.State, func(out io.Writer) error {
		o.Manifest = out
		var err error
		if v, err = integrity.Check(ctx, o); err != nil {
			return err
		}
		if v.Verdict != integrity.Intact {
			return errNotIntact
		}
		return nil
	})
	if errors.Is(err, errNotIntact) {
		err = nil
	}
	return v, err
}

// Handler serves /metrics, /report (JSON), /readyz, /healthz, and takes orders
// to check.
func (w *Watch) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.metrics.handler())
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET "+probe.ReadyPath, w.guard.ready)
	mux.HandleFunc("GET "+probe.ReportPath, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(w.history.report(w.Clock())) // the client is gone
	})
	mux.HandleFunc("POST "+probe.CheckPath, func(rw http.ResponseWriter, r *http.Request) {
		if !w.authorized(r) {
			http.Error(rw, "a check is begun by the operator alone", http.StatusUnauthorized)
			return
		}
		if !w.orders.Allow() {
			http.Error(rw, "too many requests for checks", http.StatusTooManyRequests)
			return
		}
		w.history.ask(r.URL.Query().Get(probe.UnhurriedParameter) != "false")
		select {
		case w.asked <- struct{}{}:
		default: // one is waiting already
		}
		rw.WriteHeader(http.StatusAccepted)
	})
	return mux
}
