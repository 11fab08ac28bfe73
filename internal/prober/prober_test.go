package prober_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

var proxy = types.NamespacedName{Namespace: "n", Name: "p"}

// ready is an instance that is asked whether it is ready.
func ready(url string, interval time.Duration) prober.Targets {
	return prober.Targets{Instances: []prober.Target{{
		Name: "blue", URL: url, Interval: interval, Timeout: 10 * time.Second,
		Thresholds: failover.Thresholds{Failure: 3, Success: 2}, Kinds: []failover.Kind{failover.Ready},
	}}}
}

// woken starts the source of a prober, and returns its queue.
func woken(t *testing.T, p *prober.Prober) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	t.Helper()
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(q.ShutDown)
	if err := p.Source().Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	return q
}

// answer answers requests without a network, so that a test can pass its time in
// a bubble.
type answer func() *http.Response

func (a answer) RoundTrip(*http.Request) (*http.Response, error) { return a(), nil }

// TestProberRuns holds that instances are probed from the start on and not
// before, at their interval with some jitter, that changes wake the proxy, and
// that probing ends when it is forgotten.
func TestProberRuns(t *testing.T) {
	t.Parallel()
	for when, setFirst := range map[string]bool{"set before the start": true, "set after it": false} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				p := prober.New(time.Now, &http.Client{Transport: answer(func() *http.Response {
					asked.Add(1)
					return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
				})})
				queue := woken(t, p)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				const interval = time.Minute
				if setFirst {
					p.Set(proxy, ready("http://blue", interval))
					if time.Sleep(10 * interval); asked.Load() != 0 {
						t.Errorf("%d probes before the start", asked.Load())
					}
				}
				go func() { ended <- p.Start(ctx) }()
				synctest.Wait()
				p.Set(proxy, ready("http://blue", interval)) // the same: nothing begins twice
				if synctest.Wait(); asked.Load() != 1 {
					t.Errorf("%d probes at the start, want 1", asked.Load())
				}
				if r, _ := queue.Get(); r.NamespacedName != proxy {
					t.Errorf("%s is woken", r)
				}
				if time.Sleep(10*interval + interval/2); asked.Load() < 10 || asked.Load() > 11 {
					t.Errorf("%d probes within 10.5 intervals", asked.Load())
				}
				if got := p.Observe(proxy).Instances["blue"].Streaks[failover.Ready]; got.Outcome != failover.Passed || int64(got.Count) != asked.Load() {
					t.Errorf("%+v after %d probes", got, asked.Load())
				}
				p.Forget(proxy)
				synctest.Wait()
				before := asked.Load()
				if time.Sleep(10 * interval); asked.Load() != before {
					t.Errorf("%d more probes of a proxy that is forgotten", asked.Load()-before)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				p.Set(proxy, ready("http://blue", interval))
				if time.Sleep(10 * interval); asked.Load() != before {
					t.Errorf("%d probes after the end: another replica may lead", asked.Load()-before)
				}
			})
		})
	}
}

// TestWakes holds that a proxy is woken when an outcome changes and when it is
// confirmed, and by no other round.
func TestWakes(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	instance := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(instance.Close)
	p := prober.New(time.Now, instance.Client())
	queue := woken(t, p)
	p.Set(proxy, ready(instance.URL, time.Hour))
	for round, tt := range []struct{ down, wakes bool }{
		{false, true}, {false, true}, {false, true}, {false, false}, {false, false}, // the thresholds are 2 and 3
		{true, true}, {true, true}, {true, true}, {true, false},
		{false, true},
	} {
		down.Store(tt.down)
		p.Round(t.Context(), proxy)
		if got := queue.Len() > 0; got != tt.wakes {
			t.Errorf("round %d: woken: %v, want %v", round, got, tt.wakes)
		}
		for queue.Len() > 0 {
			r, _ := queue.Get()
			queue.Done(r)
		}
	}
}

// TestChangedTarget holds that what is known of an instance is kept while its
// target stays the same, and forgotten when it changes.
func TestChangedTarget(t *testing.T) {
	t.Parallel()
	instance := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(instance.Close)
	p := prober.New(time.Now, instance.Client())
	count := func() int { return p.Observe(proxy).Instances["blue"].Streaks[failover.Ready].Count }
	to := ready(instance.URL, time.Hour)
	p.Set(proxy, to)
	p.Round(t.Context(), proxy)
	p.Set(proxy, ready(instance.URL, time.Hour))
	p.Round(t.Context(), proxy)
	if got := count(); got != 2 {
		t.Errorf("a streak of %d, want 2", got)
	}
	to.Instances[0].Timeout = time.Minute
	p.Set(proxy, to)
	if got := count(); got != 0 {
		t.Errorf("a streak of %d after the target has changed", got)
	}
	if _, probed := p.Observe(proxy).Instances["blue"].Streaks[failover.Ready]; !probed {
		t.Error("a kind that is probed and unknown is absent, and would count as proven")
	}
	p.Forget(proxy)
	if n := p.Proxies(); n != 0 {
		t.Errorf("%d proxies are probed", n)
	}
}
