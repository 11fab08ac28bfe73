package event_test

import (
	"testing"

	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/testing/scrape"
)

// TestWarningsAreCounted holds that warnings are counted by the kind of a typed
// object, whose metadata has no kind, and by reason.
func TestWarningsAreCounted(t *testing.T) {
	event.Record(events.NewFakeRecorder(3), &v1alpha1.GoCache{}, []event.Event{
		event.Warning("CountedWarning", "Test", "first"), event.Warning("CountedWarning", "Test", "second"), event.Normal("CountedWarning", "Test", "no warning"),
	})
	if got := scrape.Value(t, metrics.Registry, "gocache_warnings_total", "kind", "GoCache", "reason", "CountedWarning"); got != 2 {
		t.Errorf("counted %v warnings, want 2", got)
	}
}
