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

	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

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
			// Long: a slow API server ends no leader, and one that ends hands over.
			LeaseDuration: ptr.To(60 * time.Second), RenewDeadline: ptr.To(50 * time.Second), RetryPeriod: ptr.To(200 * time.Millisecond),
		})
		if err != nil {
			t.Fatal(err)
		}
		p := prober.New(time.Now, instance.Client())
		p.Set(name, prober.Targets{Instances: []prober.Target{{
			Name: "blue", URL: instance.URL, Interval: 10 * time.Millisecond, Timeout: 10 * time.Second,
			Thresholds: failover.Thresholds{Failure: 3, Success: 2}, Kinds: []failover.Kind{failover.Ready},
		}}})
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
		t.Fatal("no replica probes")
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
		t.Error("the other replica does not go on when the leader has ended")
	}
	if after := asked[leader].Load(); after > before+1 { // one may have been on its way
		t.Errorf("the replica that has ended went on with %d probes", after-before)
	}
	stop[1-leader]()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
