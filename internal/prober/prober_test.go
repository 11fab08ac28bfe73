package prober_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
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

// TestProberRuns holds that instances are probed from the start on and not
// before, that changes wake the proxy, and that probing ends when it is
// forgotten.
func TestProberRuns(t *testing.T) {
	t.Parallel()
	for when, setFirst := range map[string]bool{"set before the start": true, "set after it": false} {
		var asked atomic.Int64
		instance := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		defer instance.Close()
		p := prober.New(time.Now, instance.Client())
		queue := woken(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		if setFirst {
			p.Set(proxy, ready(instance.URL, time.Millisecond))
			if got := asked.Load(); got != 0 {
				t.Errorf("%s: %d probes before the start", when, got)
			}
		}
		go func() { ended <- p.Start(ctx) }()
		p.Set(proxy, ready(instance.URL, time.Millisecond))
		for {
			r, _ := queue.Get()
			queue.Done(r)
			if r.NamespacedName != proxy {
				t.Errorf("%s: %s is woken", when, r)
			}
			if got := p.Observe(proxy).Instances["blue"].Streaks[failover.Ready]; got.Count >= 2 {
				if got.Outcome != failover.Passed {
					t.Errorf("%s: %+v", when, got)
				}
				break
			}
		}
		p.Forget(proxy)
		if !stops(&asked) {
			t.Errorf("%s: it goes on being probed", when)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// stops reports whether a counter comes to rest.
func stops(n *atomic.Int64) bool {
	for range 50 {
		before := n.Load()
		time.Sleep(200 * time.Millisecond)
		if n.Load() == before {
			return true
		}
	}
	return false
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
