package modproxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

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

// TestTwoReplicasProbeOnce holds that of two replicas of the operator only the
// leader probes, and that the other one goes on when the leader ends.
func TestTwoReplicasProbeOnce(t *testing.T) {
	t.Parallel()
	namespace := server.Namespace(t)
	name := types.NamespacedName{Namespace: namespace, Name: "p"}
	var asked [2]atomic.Int64
	var stop [2]context.CancelFunc
	ended := make(chan error, 2)
	for n := range asked {
		instance := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked[n].Add(1) }))
		t.Cleanup(instance.Close)
		mgr, err := ctrl.NewManager(server.Config, ctrl.Options{
			Scheme: server.Scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
			LeaderElection: true, LeaderElectionID: "probers", LeaderElectionNamespace: namespace, LeaderElectionReleaseOnCancel: true,
			LeaseDuration: ptr.To(10 * time.Second), RenewDeadline: ptr.To(8 * time.Second), RetryPeriod: ptr.To(200 * time.Millisecond),
		})
		if err != nil {
			t.Fatal(err)
		}
		p := newProber(time.Now, instance.Client())
		p.want(name, []target{{
			name: "blue", url: instance.URL, interval: 10 * time.Millisecond, timeout: 10 * time.Second,
			thresholds: failover.Thresholds{Failure: 3, Success: 2}, kinds: []v1alpha1.ProbeKind{v1alpha1.ProbeReady},
		}}, databaseTarget{})
		if err := mgr.Add(p); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stop[n] = cancel
		go func() { ended <- mgr.Start(ctx) }()
	}
	probes := func(n int, atLeast int64) bool {
		return wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
			return asked[n].Load() >= atLeast, nil
		}) == nil
	}
	leader := 0
	_ = wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		if asked[1].Load() > 0 {
			leader = 1
		}
		return asked[0].Load()+asked[1].Load() > 0, nil
	})
	if !probes(leader, 20) {
		t.Fatal("nobody probes")
	}
	if n := asked[1-leader].Load(); n != 0 {
		t.Errorf("the replica that does not lead has made %d probes", n)
	}
	stop[leader]()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	before := asked[leader].Load()
	if !probes(1-leader, 20) {
		t.Error("nobody goes on when the leader has ended")
	}
	if after := asked[leader].Load(); after > before+1 { // one may have been on its way
		t.Errorf("the replica that has ended went on with %d probes", after-before)
	}
	stop[1-leader]()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
