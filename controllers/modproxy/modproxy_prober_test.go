package modproxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/failover"
)

// TestProberRuns holds that instances are probed from the start on, that news
// reach the controller, and that probing ends when nobody wants it any more.
func TestProberRuns(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	instance := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer instance.Close()
	name := types.NamespacedName{Namespace: "n", Name: "p"}
	to := target{
		name: "blue", url: instance.URL, interval: time.Millisecond, timeout: 10 * time.Second,
		thresholds: failover.Thresholds{Failure: 3, Success: 2}, kinds: []v1alpha1.ProbeKind{v1alpha1.ProbeReady},
	}
	for when, wantFirst := range map[string]bool{"wanted before the start": true, "wanted after it": false} {
		p := newProber(time.Now, instance.Client())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		if wantFirst {
			p.want(name, []target{to}, databaseTarget{})
			if got := asked.Load(); got != 0 {
				t.Errorf("%s: %d probes before the start", when, got)
			}
		}
		go func() { ended <- p.Start(ctx) }()
		p.want(name, []target{to}, databaseTarget{})
		for range 2 { // the first pass, and the one that is believed
			select {
			case e := <-p.news:
				if e.Object.GetName() != "p" || e.Object.GetNamespace() != "n" {
					t.Errorf("%s: news of %s", when, e.Object.GetName())
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%s: no news", when)
			}
		}
		if got := p.outcomes(name)["blue"].streaks[failover.Ready]; got.Outcome != failover.Passed || got.Count < 2 {
			t.Errorf("%s: %+v", when, got)
		}
		p.forget(name)
		if !stops(&asked) {
			t.Errorf("%s: it goes on being probed", when)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", when, err)
		}
		asked.Store(0)
	}
}

// stops says whether a counter comes to rest.
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
