package volume

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestComplaint holds that the newest warning about this very PVC is passed on,
// whichever of the APIs wrote it.
func TestComplaint(t *testing.T) {
	event := func(name, message string, changes ...func(*corev1.Event)) *corev1.Event {
		e := &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Type: corev1.EventTypeWarning, Message: message,
			InvolvedObject: corev1.ObjectReference{Namespace: "n", Name: "c", UID: "c-uid"},
		}
		for _, change := range changes {
			change(e)
		}
		return e
	}
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	last := func(minutes int) func(*corev1.Event) {
		return func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(at(minutes)) }
	}
	newAPI := func(minutes int) func(*corev1.Event) {
		return func(e *corev1.Event) { e.EventTime = metav1.NewMicroTime(at(minutes)) }
	}
	series := func(minutes int) func(*corev1.Event) {
		return func(e *corev1.Event) {
			e.Series = &corev1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(at(minutes))}
		}
	}
	created := func(minutes int) func(*corev1.Event) {
		return func(e *corev1.Event) { e.CreationTimestamp = metav1.NewTime(at(minutes)) }
	}
	normal := func(e *corev1.Event) { e.Type = corev1.EventTypeNormal }
	of := func(uid types.UID) func(*corev1.Event) { return func(e *corev1.Event) { e.InvolvedObject.UID = uid } }
	elsewhere := func(e *corev1.Event) { e.Namespace = "m" }
	for name, tt := range map[string]struct {
		events []client.Object
		want   string
	}{
		"none":                          {nil, ""},
		"one":                           {[]client.Object{event("a", " no space\n", last(1))}, "no space"},
		"not a warning":                 {[]client.Object{event("a", "x", last(1), normal)}, ""},
		"of an earlier PVC":             {[]client.Object{event("a", "x", last(1), of("old-uid"))}, ""},
		"of another namespace":          {[]client.Object{event("a", "x", last(1), elsewhere)}, ""},
		"the newest":                    {[]client.Object{event("a", "old", last(1)), event("b", "new", last(3)), event("c", "mid", last(2))}, "new"},
		"the newest, of both APIs":      {[]client.Object{event("a", "old", last(1)), event("b", "new", newAPI(2))}, "new"},
		"the newest is a series":        {[]client.Object{event("a", "old", last(2)), event("b", "new", newAPI(1), series(3))}, "new"},
		"a series that ended before":    {[]client.Object{event("a", "new", last(2)), event("b", "old", newAPI(3), series(1))}, "new"},
		"without any time but creation": {[]client.Object{event("a", "old", created(1)), event("b", "new", created(2))}, "new"},
		"a long one":                    {[]client.Object{event("a", strings.Repeat("x", 2000), last(1))}, strings.Repeat("x", 600)},
	} {
		t.Run(name, func(t *testing.T) {
			live := builder(t, tt.events...).
				WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string { return []string{string(o.(*corev1.Event).InvolvedObject.UID)} }).
				WithIndex(&corev1.Event{}, "type", func(o client.Object) []string { return []string{o.(*corev1.Event).Type} }).Build()
			got, err := Complaint(t.Context(), live, pvc("c"))
			if err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if got, err := Complaint(t.Context(), broken(t, errBroken), pvc("c")); !errors.Is(err, errBroken) || got != "" {
		t.Errorf("the list fails: %q, %v", got, err)
	}
}
