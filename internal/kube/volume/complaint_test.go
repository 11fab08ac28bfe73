package volume

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
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

// TestWhatProvisionersReport holds what is taken from the texts of drivers: whether a
// clone is still being made, and whether its size is refused.
func TestWhatProvisionersReport(t *testing.T) {
	const failed = `failed to provision volume with StorageClass "c": rpc error: code = `
	for text, want := range map[string]struct{ progress, size bool }{
		failed + "Aborted desc = an operation with the given Volume ID pvc-1 already exists":                                 {true, false},
		failed + "Aborted desc = clone from snapshot is pending":                                                             {true, false},
		failed + "Aborted desc = clone from snapshot is already in progress":                                                 {true, false},
		failed + "Internal desc = flatten in progress: rbd image is being flattened":                                         {true, false},
		failed + "ResourceExhausted desc = Operation rate exceeded":                                                          {false, false},
		failed + "OutOfRange desc = clone volume size is not matching":                                                       {false, true},
		failed + "Internal desc = size of target volume 3221225472 bytes is different than size of source volume 2147483648": {false, true},
		failed + "InvalidArgument desc = invalid pool":                                                                       {false, false},
		"this driver cannot restore":                                                                                         {false, false},
		"":                                                                                                                   {false, false},
	} {
		if got := InProgress(text); got != want.progress {
			t.Errorf("%q: in progress %v", text, got)
		}
		if got := RefusesSize(text); got != want.size {
			t.Errorf("%q: refuses the size %v", text, got)
		}
	}
}

// TestCloneSize holds that a clone has the size of its snapshot, and that of the
// source while the driver reports none.
func TestCloneSize(t *testing.T) {
	of := func(restore, capacity string) *v1alpha1.CacheSnapshot {
		s := &v1alpha1.CacheSnapshot{}
		if restore != "" {
			s.Status.RestoreSize = ptr.To(resource.MustParse(restore))
		}
		if capacity != "" {
			s.Status.Source = &v1alpha1.SourceRecord{Capacity: ptr.To(resource.MustParse(capacity))}
		}
		return s
	}
	for _, tt := range []struct{ restore, capacity, want string }{
		{"3Gi", "4Gi", "3Gi"}, {"0", "4Gi", "4Gi"}, {"", "4Gi", "4Gi"}, {"3Gi", "", "3Gi"}, {"", "", "0"},
	} {
		if got := CloneSize(of(tt.restore, tt.capacity)); got.Cmp(resource.MustParse(tt.want)) != 0 {
			t.Errorf("restore size %q, capacity %q: %s, want %s", tt.restore, tt.capacity, &got, tt.want)
		}
	}
}
