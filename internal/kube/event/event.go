// Package event records what happened on the object that it happened to. An
// event is recorded once, after the status was written, in the past tense, for
// the user that must act or need not.
package event

import (
	"fmt"
	"reflect"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
)

// maxNote is the longest note that the events API accepts, in bytes.
const maxNote = 1024

// Event is one thing that happened.
type Event struct {
	kind, reason, action, note string
	related                    runtime.Object
}

// Normal is an event that requires no action.
func Normal(reason, action, format string, args ...any) Event {
	return Event{kind: corev1.EventTypeNormal, reason: reason, action: action, note: fmt.Sprintf(format, args...)}
}

// Warning is an event that a user should examine.
func Warning(reason, action, format string, args ...any) Event {
	return Event{kind: corev1.EventTypeWarning, reason: reason, action: action, note: fmt.Sprintf(format, args...)}
}

// About names a second object that the event is about. Events with the same
// reason on the same object are counted together, and only the first one's
// text is kept, unless they are about different objects.
func (e Event) About(related runtime.Object) Event {
	e.related = related
	return e
}

// Record records events on an object.
func Record(r events.EventRecorder, on runtime.Object, all []Event) {
	for _, e := range all {
		r.Eventf(on, e.related, e.kind, e.reason, e.action, "%s", bounded.Text(e.note, maxNote))
		Count(on, e.kind, e.reason)
	}
}

// warnings are the failures of all kinds by reason. The reasons are those of
// docs/reference/events.md.
var warnings = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "gocache_warnings_total", Help: "Events of type Warning, by kind of the object and reason.",
}, []string{"kind", "reason"})

func init() { metrics.Registry.MustRegister(warnings) }

// Count records an event of a type on an object in the metrics.
func Count(on runtime.Object, eventType, reason string) {
	if eventType == corev1.EventTypeWarning {
		warnings.WithLabelValues(reflect.Indirect(reflect.ValueOf(on)).Type().Name(), reason).Inc() // a typed object has no kind in its metadata
	}
}

// Stalled is the event that an object came to need a person, if it did.
func Stalled(before, after []metav1.Condition) []Event {
	is := meta.FindStatusCondition(after, v1alpha1.StalledCondition)
	was := meta.FindStatusCondition(before, v1alpha1.StalledCondition)
	if is == nil || was != nil && was.Reason == is.Reason {
		return nil
	}
	return []Event{Warning(is.Reason, "Stall", "%s", is.Message)}
}
