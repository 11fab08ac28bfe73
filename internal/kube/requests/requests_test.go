package requests_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/plan/request"
)

var (
	now       = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	errBroken = errors.New("the server is down")
)

// requested is a CacheRequest for GoCache ci, created some minutes after the first.
func requested(name string, minute int, change ...func(*v1alpha1.CacheRequest)) *v1alpha1.CacheRequest {
	r := &v1alpha1.CacheRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: types.UID("uid-of-" + name), CreationTimestamp: metav1.NewTime(now.Add(time.Duration(minute) * time.Minute))},
		Spec:       v1alpha1.CacheRequestSpec{TargetRef: v1alpha1.RequestTarget{Kind: "GoCache", Name: "ci"}, Action: v1alpha1.RequestWarmUp},
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func finished(r *v1alpha1.CacheRequest) { r.Status.CompletionTime = ptr.To(metav1.NewTime(now)) }

// status is what the object reports of a request.
func status(name string, outcome v1alpha1.RequestOutcome) *v1alpha1.RequestStatus {
	return &v1alpha1.RequestStatus{Name: name, UID: "uid-of-" + name, Action: v1alpha1.RequestWarmUp, Outcome: outcome, Time: metav1.NewTime(now)}
}

func builder(t *testing.T, all ...*v1alpha1.CacheRequest) *fake.ClientBuilder {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(scheme)
	for _, r := range all {
		b.WithObjects(r)
	}
	return b
}

// TestTake holds which request an object takes up. What the caches show may be old:
// what was finished, replaced or deleted in the meantime is not taken up.
func TestTake(t *testing.T) {
	t.Parallel()
	const accepted, refused = v1alpha1.RequestAccepted, v1alpha1.RequestRefused
	type all = []*v1alpha1.CacheRequest
	for name, tt := range map[string]struct {
		cached, live all // live: nil is as cached
		current      *v1alpha1.RequestStatus
		begun        bool
		answered     string
		want         *v1alpha1.RequestStatus
	}{
		"none":                      {},
		"the oldest first":          {cached: all{requested("b", 1), requested("a", 2)}, want: status("b", accepted)},
		"one is worked on":          {cached: all{requested("a", 1), requested("b", 2)}, current: status("b", accepted), want: status("b", accepted)},
		"its outcome is not copied": {cached: all{requested("a", 1), requested("b", 2)}, current: status("b", refused), want: status("b", refused)},
		"its outcome is copied":     {cached: all{requested("a", 1), requested("b", 2, finished)}, current: status("b", refused), want: status("a", accepted)},
		"it is gone":                {cached: all{requested("a", 1)}, current: status("b", accepted), want: status("a", accepted)},
		"it is gone, and was begun": {cached: all{requested("a", 1)}, current: status("b", accepted), begun: true, want: status("b", accepted)},
		"it was replaced":           {cached: all{requested("b", 1, func(r *v1alpha1.CacheRequest) { r.UID = "other" })}, current: status("b", accepted), want: &v1alpha1.RequestStatus{Name: "b", UID: "other", Action: v1alpha1.RequestWarmUp, Outcome: accepted, Time: metav1.NewTime(now)}},
		"all are done":              {cached: all{requested("b", 1, finished)}, current: status("b", refused)},
		"for another object":        {cached: all{requested("a", 1, func(r *v1alpha1.CacheRequest) { r.Spec.TargetRef.Name = "other" })}},
		"of another kind":           {cached: all{requested("a", 1, func(r *v1alpha1.CacheRequest) { r.Spec.TargetRef.Kind = "ModProxy" })}},
		"in another namespace":      {cached: all{requested("a", 1, func(r *v1alpha1.CacheRequest) { r.Namespace = "other" })}},
		"for an earlier object":     {cached: all{requested("a", 1, func(r *v1alpha1.CacheRequest) { r.Status.TargetUID = "earlier" })}},
		"finished, not seen yet":    {cached: all{requested("a", 1), requested("b", 2)}, live: all{requested("a", 1, finished), requested("b", 2)}, want: status("b", accepted)},
		"gone, not seen yet":        {cached: all{requested("a", 1), requested("b", 2)}, live: all{requested("b", 2)}, want: status("b", accepted)},
		"replaced, not seen yet":    {cached: all{requested("a", 1)}, live: all{requested("a", 1, func(r *v1alpha1.CacheRequest) { r.UID = "other" })}},
		"being deleted, not seen yet": {cached: all{requested("a", 1)}, live: all{requested("a", 1, func(r *v1alpha1.CacheRequest) {
			r.Finalizers, r.DeletionTimestamp = []string{"x"}, ptr.To(metav1.NewTime(now))
		})}},
		"answered already":                {cached: all{requested("a", 1), requested("b", 2)}, answered: "a", want: status("b", accepted)},
		"the accepted one is answered":    {cached: all{requested("a", 1), requested("b", 2)}, current: status("a", accepted), answered: "a", want: status("b", accepted)},
		"all are answered":                {cached: all{requested("a", 1)}, current: status("a", accepted), answered: "a"},
		"its own outcome is copied first": {cached: all{requested("a", 1), requested("b", 2)}, current: status("a", refused), answered: "a", want: status("a", refused)},
		"not supported": {cached: all{requested("a", 1, func(r *v1alpha1.CacheRequest) { r.Spec.Action = v1alpha1.RequestRollback })}, want: &v1alpha1.RequestStatus{
			Name: "a", UID: "uid-of-a", Action: v1alpha1.RequestRollback, Outcome: refused, Time: metav1.NewTime(now),
			Message: "this release does not support the action Rollback for a GoCache: it supports WarmUp",
		}},
	} {
		if tt.live == nil {
			tt.live = tt.cached
		}
		q := queue(t, builder(t, tt.cached...).Build(), builder(t, tt.live...).Build())
		q.Answered = func(r *v1alpha1.CacheRequest) bool { return r.Name == tt.answered }
		got, err := q.Take(t.Context(), tt.current, now, func(request.Request) string { return "" }, func() bool { return tt.begun })
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", name, err, diff)
		}
	}
}

func queue(t *testing.T, cached, live client.Client) requests.Queue {
	t.Helper()
	return requests.Queue{
		Client: cached, Live: live, Kind: request.Kind{Name: "GoCache", Supports: []v1alpha1.RequestAction{v1alpha1.RequestWarmUp}},
		Target: &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci", UID: "cache"}},
	}
}

// TestManyThatAreAnswered holds that requests which are answered already cost no reads
// past the caches: users decide how many there are.
func TestManyThatAreAnswered(t *testing.T) {
	t.Parallel()
	var all []*v1alpha1.CacheRequest
	for i := range 50 {
		all = append(all, requested(fmt.Sprintf("answered-%d", i), i))
	}
	all = append(all, requested("next", 60))
	reads := 0
	live := builder(t, all...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			reads++
			return c.Get(ctx, key, o, options...)
		},
	}).Build()
	q := queue(t, builder(t, all...).Build(), live)
	q.Answered = func(r *v1alpha1.CacheRequest) bool { return strings.HasPrefix(r.Name, "answered") }
	got, err := q.Take(t.Context(), nil, now, func(request.Request) string { return "" }, func() bool { return false })
	if err != nil || got == nil || got.Name != "next" || reads != 1 {
		t.Errorf("%+v after %d reads, %v", got, reads, err)
	}
}

// TestAnsweredMeanwhile holds that a request which the caches show as open, and which is
// answered by now, is not taken up.
func TestAnsweredMeanwhile(t *testing.T) {
	t.Parallel()
	was, is := requested("a", 1), requested("a", 1, func(r *v1alpha1.CacheRequest) { r.Annotations = map[string]string{"answered": "yes"} })
	q := queue(t, builder(t, was, requested("b", 2)).Build(), builder(t, is, requested("b", 2)).Build())
	q.Answered = func(r *v1alpha1.CacheRequest) bool { return r.Annotations["answered"] != "" }
	got, err := q.Take(t.Context(), nil, now, func(request.Request) string { return "" }, func() bool { return false })
	if err != nil || got == nil || got.Name != "b" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLongMessage holds that a message is stored as far as the schema accepts it: one
// that is longer would lose the whole status.
func TestLongMessage(t *testing.T) {
	t.Parallel()
	c := builder(t, requested("a", 1)).Build()
	got, err := queue(t, c, c).Take(t.Context(), nil, now, func(request.Request) string { return strings.Repeat("é", 1024) }, func() bool { return false })
	if err != nil || got == nil || got.Outcome != v1alpha1.RequestRefused || got.Message != strings.Repeat("é", 512) {
		t.Errorf("%v, %+v", err, got)
	}
}

// TestTakeFails holds that what cannot be read changes nothing.
func TestTakeFails(t *testing.T) {
	t.Parallel()
	broken := builder(t).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errBroken
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errBroken
		},
	}).Build()
	works := builder(t, requested("a", 1)).Build()
	current := status("b", v1alpha1.RequestAccepted)
	for name, tt := range map[string]struct {
		q       requests.Queue
		current *v1alpha1.RequestStatus
	}{
		"the current one":   {queue(t, works, broken), current},
		"those that wait":   {queue(t, broken, works), current},
		"the one to accept": {queue(t, works, broken), nil},
	} {
		got, err := tt.q.Take(t.Context(), tt.current, now, func(request.Request) string { return "" }, func() bool { return false })
		if !errors.Is(err, errBroken) || got != tt.current {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestByRequest(t *testing.T) {
	t.Parallel()
	of := requests.ByRequest("GoCache")
	if got := of(t.Context(), requested("a", 1)); len(got) != 1 || got[0] != (reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "n", Name: "ci"}}) {
		t.Errorf("%v", got)
	}
	if got := requests.ByRequest("ModProxy")(t.Context(), requested("a", 1)); len(got) != 0 {
		t.Errorf("of another kind: %v", got)
	}
	report := requested("a", 1, func(r *v1alpha1.CacheRequest) {
		r.Spec.Action, r.Spec.Build = v1alpha1.RequestReportBuild, &v1alpha1.BuildReport{Hits: 1}
	})
	if got := of(t.Context(), report); len(got) != 0 {
		t.Errorf("a report of a build: %v", got)
	}
	if got := of(t.Context(), &corev1.Pod{}); len(got) != 0 {
		t.Errorf("of something else: %v", got)
	}
}
