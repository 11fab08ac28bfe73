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
	for _, tt := range []struct {
		action   v1alpha1.RequestAction
		argument string
		want     failover.Request
	}{
		{v1alpha1.RequestFailover, "blue", failover.Request{Failover: "blue"}},
		{v1alpha1.RequestFailback, "", failover.Request{Failback: true}},
		{v1alpha1.RequestReinstate, "blue", failover.Request{}},
		{v1alpha1.RequestCheckIntegrity, "", failover.Request{}},
		{v1alpha1.RequestSnapshot, "", failover.Request{}},
	} {
		proxy := &v1alpha1.ModProxy{}
		proxy.Status.Request = &v1alpha1.RequestStatus{Action: tt.action, Argument: tt.argument, Outcome: v1alpha1.RequestAccepted}
		if got := requestedMove(proxy); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.action, got, tt.want)
		}
	}
}
