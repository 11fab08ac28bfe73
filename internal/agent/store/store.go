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
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/integrity"
)

// Options are the command's flags.
type Options struct {
	caches.Flags
	Listen   string
	Interval time.Duration // between checks
	State    string        // the manifest of what was found sound; empty: nothing is remembered
	Once     bool          // check once and return

	Clock  func() time.Time
	Stderr io.Writer
}

// Watch is a running watch.
type Watch struct {
	Options
	last     atomic.Pointer[integrity.Verdict]
	registry *prometheus.Registry
	verdict  *prometheus.GaugeVec
	findings *prometheus.GaugeVec
	bytes    prometheus.Counter
	duration prometheus.Gauge
	checked  prometheus.Gauge
}

// New prepares a watch.
func New(o Options) *Watch {
	w := &Watch{Options: o, registry: prometheus.NewRegistry()}
	w.verdict = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gocache_store_verdict", Help: "1 for the verdict of the last check of the store, 0 for the others.",
	}, []string{"verdict"})
	w.findings = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gocache_store_findings", Help: "Findings of the last check of the store, by class.",
	}, []string{"class"})
	w.bytes = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocache_store_checked_bytes_total", Help: "Bytes hashed by checks of the store.",
	})
	w.duration = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gocache_store_check_duration_seconds", Help: "Duration of the last check of the store.",
	})
	w.checked = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gocache_store_check_timestamp_seconds", Help: "Time of the last check of the store.",
	})
	w.registry.MustRegister(w.verdict, w.findings, w.bytes, w.duration, w.checked,
		w.space("gocache_store_used_bytes", "Bytes used on the store's volume.", func(s volume.Space) int64 { return s.Used }),
		w.space("gocache_store_capacity_bytes", "Size of the store's volume.", func(s volume.Space) int64 { return s.Capacity }),
		w.space("gocache_store_available_bytes", "Bytes that can still be written to the store's volume.", func(s volume.Space) int64 { return s.Available }),
	)
	return w
}

func (w *Watch) space(name, help string, of func(volume.Space) int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		s, err := volume.Usage(w.Store)
		if err != nil {
			return -1
		}
		return float64(of(s))
	})
}

// Run serves and checks until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
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
	group.Go(func() error { return w.loop(ctx) })
	return group.Wait()
}

func (w *Watch) loop(ctx context.Context) error {
	tick := time.NewTicker(max(w.Interval, time.Second))
	defer tick.Stop()
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
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Check checks the store now and remembers the verdict.
func (w *Watch) Check(ctx context.Context) integrity.Verdict {
	start := w.Clock()
	v, err := w.check(ctx, start)
	if err != nil {
		v = integrity.Verdict{Verdict: integrity.Inconclusive, Message: err.Error()}
	}
	end := w.Clock()
	v.DurationSeconds = end.Sub(start).Round(time.Millisecond).Seconds()
	w.publish(v, end)
	return v
}

func (w *Watch) check(ctx context.Context, now time.Time) (integrity.Verdict, error) {
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
	if w.State == "" {
		return integrity.Check(ctx, o)
	}
	return w.remember(ctx, o)
}

var errNotSound = errors.New("not remembered")

// remember checks and keeps the manifest, but only of a sound store.
func (w *Watch) remember(ctx context.Context, o integrity.Options) (v integrity.Verdict, err error) {
	err = record.WriteManifest(w.State, func(out io.Writer) error {
		o.Manifest = out
		var err error
		if v, err = integrity.Check(ctx, o); err != nil {
			return err
		}
		if v.Verdict != integrity.Intact {
			return errNotSound
		}
		return nil
	})
	if errors.Is(err, errNotSound) {
		err = nil
	}
	return v, err
}

func (w *Watch) publish(v integrity.Verdict, now time.Time) {
	w.last.Store(&v)
	for _, o := range []integrity.Outcome{integrity.Intact, integrity.Condemned, integrity.Inconclusive} {
		value := 0.0
		if v.Verdict == o {
			value = 1
		}
		w.verdict.WithLabelValues(string(o)).Set(value)
	}
	w.findings.Reset()
	for class, n := range v.Findings {
		w.findings.WithLabelValues(string(class)).Set(float64(n))
	}
	w.bytes.Add(float64(v.Bytes))
	w.duration.Set(v.DurationSeconds)
	w.checked.Set(float64(now.Unix()))
}

// Handler serves /metrics, /verdict (JSON) and /healthz.
func (w *Watch) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /verdict", func(rw http.ResponseWriter, _ *http.Request) {
		v := w.last.Load()
		if v == nil {
			http.Error(rw, "not checked yet", http.StatusServiceUnavailable)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(v) // the client is gone: nobody to tell
	})
	return mux
}
