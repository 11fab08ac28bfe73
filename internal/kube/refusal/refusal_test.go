package refusal_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/internal/kube/refusal"
)

// TestNewest holds that the text is that of the newest warning about an object, by
// whichever API the event was recorded, and that it is bounded.
func TestNewest(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(minutes int) time.Time { return began.Add(time.Duration(minutes) * time.Minute) }
	event := func(name string, uid types.UID, change func(*corev1.Event)) *corev1.Event {
		e := &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: "n", Name: name, CreationTimestamp: metav1.NewTime(at(0))},
			InvolvedObject: corev1.ObjectReference{UID: uid}, Type: corev1.EventTypeWarning, Message: " " + name + "\n",
		}
		change(e)
		return e
	}
	last := func(minutes int) func(*corev1.Event) {
		return func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(at(minutes)) }
	}
	all := []client.Object{
		event("created", "created", func(e *corev1.Event) { e.CreationTimestamp = metav1.NewTime(at(5)) }),
		event("older", "created", last(1)),
		event("old-api", "old", last(3)),
		event("old-api-before", "old", last(2)),
		event("new-api", "new", func(e *corev1.Event) { e.EventTime = metav1.NewMicroTime(at(4)) }),
		event("new-api-before", "new", last(3)),
		event("series", "series", func(e *corev1.Event) {
			e.EventTime = metav1.NewMicroTime(at(1))
			e.Series = &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(at(6))}
		}),
		event("before-the-series-ended", "series", last(5)),
		event("normal", "normal", func(e *corev1.Event) { e.Type = corev1.EventTypeNormal }),
		event("elsewhere", "elsewhere", func(e *corev1.Event) { e.Namespace = "other" }),
		event("long", "long", func(e *corev1.Event) { e.Message = strings.Repeat("x", 601) }),
		event("no-time", "no-time", func(e *corev1.Event) { e.CreationTimestamp = metav1.Time{} }),
	}
	index := func(field func(*corev1.Event) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{field(o.(*corev1.Event))} }
	}
	builder := func() *fake.ClientBuilder {
		return fake.NewClientBuilder().WithObjects(all...).
			WithIndex(&corev1.Event{}, "involvedObject.uid", index(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })).
			WithIndex(&corev1.Event{}, "type", index(func(e *corev1.Event) string { return e.Type }))
	}
	for uid, want := range map[types.UID]string{
		"created": "created", "old": "old-api", "new": "new-api", "series": "series", "normal": "", "elsewhere": "", "none": "",
		"long": strings.Repeat("x", 600), "no-time": "no-time",
	} {
		if got, err := refusal.Newest(t.Context(), builder().Build(), "n", uid); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", uid, got, err, want)
		}
	}
	overloaded := errors.New("overloaded")
	broken := builder().WithInterceptorFuncs(interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return overloaded
	}}).Build()
	if got, err := refusal.Newest(t.Context(), broken, "n", "old"); got != "" || !errors.Is(err, overloaded) || !strings.Contains(err.Error(), "object old in namespace n") {
		t.Errorf("events that cannot be read: %q, %v", got, err)
	}
}

func TestPod(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{
			`Error creating: pods "ci-writer-x7k2p" is forbidden: exceeded quota: compute, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4`,
			"exceeded quota: compute, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4",
		},
		{`pods "goproxy-router-5d9-x" is forbidden: failed quota: compute: must specify limits.cpu for: haproxy`, "failed quota: compute: must specify limits.cpu for: haproxy; set podTemplate.resources"},
		{
			`create Pod goproxy-blue-0 in StatefulSet goproxy-blue failed error: pods "goproxy-blue-0" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]`,
			"[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]",
		},
		{`Error creating: admission webhook "x.example.com" denied the request: no label team`, `admission webhook "x.example.com" denied the request: no label team`},
		{"", ""},
		{"is forbidden: " + strings.Repeat("x", 601), strings.Repeat("x", 600)},
	} {
		if got := refusal.Pod(tt.text); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}
