package modproxy

import (
	"testing"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/failover"
)

// TestRequestOfWeights holds that only a request to move clients moves them: a
// check or a snapshot that is asked for ends no hold-down, and brings nothing
// back that a person is to bring back.
func TestRequestOfWeights(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]failover.Request{
		"failover=blue#1": {Failover: "blue"},
		"failback#1":      {Failback: true},
		"failback=blue#1": {},
		"integrity#1":     {},
		"snapshot#1":      {},
	} {
		proxy := &v1alpha1.ModProxy{}
		proxy.Status.LastHandledRequest = &v1alpha1.RequestStatus{Request: text, Outcome: v1alpha1.RequestAccepted}
		if got := (&scope{proxy: proxy}).request(); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}
