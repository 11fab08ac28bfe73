package cacherequest

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/scrape"
)

// TestCount holds that a request is counted once, when it is finished.
func TestCount(t *testing.T) {
	t.Parallel()
	const label = "TestCount" // no request of another test has it
	accepted := &v1alpha1.CacheRequest{Spec: v1alpha1.CacheRequestSpec{Action: label}, Status: v1alpha1.CacheRequestStatus{Outcome: v1alpha1.RequestAccepted}}
	done := accepted.DeepCopy()
	done.Status.Outcome, done.Status.CompletionTime = v1alpha1.RequestRefused, &metav1.Time{Time: time.Unix(1_700_000_000, 0)}
	count(&v1alpha1.CacheRequest{}, accepted)
	count(accepted, done)
	count(done, done)
	if got := scrape.Value(t, metrics.Registry, "gocache_requests_total", "action", label); got != 1 {
		t.Errorf("counted %v requests, want 1", got)
	}
}
