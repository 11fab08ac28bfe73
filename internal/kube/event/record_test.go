package event_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

// recorder keeps what is recorded.
type recorder struct{ all []string }

func (r *recorder) Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any) {
	about := ""
	if related != nil {
		about = " about " + related.(*corev1.Pod).Name
	}
	r.all = append(r.all, fmt.Sprintf("%s: %s %s %s: %s%s", regarding.(*v1alpha1.GoCache).Name, eventtype, reason, action, fmt.Sprintf(note, args...), about))
}

// TestRecord holds that events are recorded in their order, on their object and with the
// one that they are about, and that warnings are counted.
func TestRecord(t *testing.T) {
	r := &recorder{}
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "ci"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	event.Record(r, cache, []event.Event{event.Warning("RecordTest", "Do", "%d of %d", 1, 2).About(pod), event.Normal("RecordTest", "Do", "done"), event.Warning("RecordTest", "Do", "again")})
	want := []string{"ci: Warning RecordTest Do: 1 of 2 about p", "ci: Normal RecordTest Do: done", "ci: Warning RecordTest Do: again"}
	if !slices.Equal(r.all, want) {
		t.Errorf("recorded %q, want %q", r.all, want)
	}
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if f.GetName() == "gocache_warnings_total" && labels["reason"] == "RecordTest" && labels["kind"] == "GoCache" {
				counted += m.GetCounter().GetValue()
			}
		}
	}
	if counted != 2 {
		t.Errorf("%v warnings are counted, want 2", counted)
	}
	if problems, err := testutil.GatherAndLint(metrics.Registry, "gocache_warnings_total"); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// TestStalledEvent holds what the event of an object that is stalled contains.
func TestStalledEvent(t *testing.T) {
	all := event.Stalled(nil, []metav1.Condition{{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: "InvalidSpec", Message: "100% wrong"}})
	if got := fmt.Sprint(all); got != "[{Warning InvalidSpec Stall 100% wrong <nil>}]" {
		t.Errorf("%s", got)
	}
}
