package prober

import (
	"testing"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/plan/failover"
)

// TestWithdrawnWhileAsked holds that content which was fetched again while
// the instance was asked is not held against what the store had before.
func TestWithdrawnWhileAsked(t *testing.T) {
	t.Parallel()
	sampled := probe.Sampled{Version: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: "h1:old"}
	asked := []probe.ReferenceModule{{Module: sampled.Version, Zip: "h1:old", OnlyStored: true}}
	for name, tt := range map[string]struct {
		after *StoreReport
		want  probe.Outcome
	}{
		"still vouched for": {&StoreReport{Sample: []probe.Sampled{sampled}}, probe.Failed},
		"withdrawn":         {&StoreReport{}, probe.Unknown},
		"fetched anew":      {&StoreReport{Sample: []probe.Sampled{{Version: sampled.Version, Zip: "h1:new"}}}, probe.Unknown},
		"no answer":         {nil, probe.Failed},
	} {
		a := answers{results: map[failover.Kind]probe.Result{failover.Checksum: {Outcome: probe.Failed}}}
		Target{}.withdraw(a, asked, tt.after)
		if got := a.results[failover.Checksum].Outcome; got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
