package request_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/request"
)

// TestSurplus holds how many finished reports are kept, the newest of each object, and that
// no other request is counted with them, or deleted.
func TestSurplus(t *testing.T) {
	start := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	requests := func(n int, name string, change func(*v1alpha1.CacheRequest)) (all []v1alpha1.CacheRequest) {
		for i := range n {
			r := v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%04d", name, i), CreationTimestamp: metav1.NewTime(start.Add(time.Duration(i/2) * time.Second))}}
			r.Spec.Action, r.Spec.TargetRef = v1alpha1.RequestReportBuild, v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}
			r.Status.Outcome, r.Status.CompletionTime = v1alpha1.RequestSucceeded, &metav1.Time{Time: start}
			change(&r)
			all = append(all, r)
		}
		return all
	}
	none := func(*v1alpha1.CacheRequest) {}
	refused := func(r *v1alpha1.CacheRequest) {
		r.Status.Outcome, r.Spec.TargetRef.Name = v1alpha1.RequestRefused, r.Name
	}
	for name, tt := range map[string]struct {
		all  [][]v1alpha1.CacheRequest
		want []string
	}{
		"as many as are kept": {[][]v1alpha1.CacheRequest{requests(1000, "r", none)}, nil},
		"more":                {[][]v1alpha1.CacheRequest{requests(1003, "r", none)}, []string{"r-0000", "r-0001", "r-0002"}},
		"of two objects": {[][]v1alpha1.CacheRequest{
			requests(1000, "r", none), requests(1001, "s", func(r *v1alpha1.CacheRequest) { r.Spec.TargetRef.Name = "other" }),
		}, []string{"s-0000"}},
		"of failed builds": {[][]v1alpha1.CacheRequest{
			requests(1000, "r", none), requests(1001, "f", func(r *v1alpha1.CacheRequest) { r.Spec.Action = v1alpha1.RequestReportFailure }),
		}, []string{"f-0000"}},
		"refused ones, each of another name": {[][]v1alpha1.CacheRequest{requests(102, "r", refused)}, []string{"r-0000", "r-0001"}},
		"refused ones beside others":         {[][]v1alpha1.CacheRequest{requests(100, "r", refused), requests(1000, "s", none)}, nil},
		"that are not finished": {[][]v1alpha1.CacheRequest{
			requests(1000, "r", none), requests(5, "w", func(r *v1alpha1.CacheRequest) {
				r.Status.Outcome, r.Status.CompletionTime = v1alpha1.RequestWaiting, nil
			}),
		}, nil},
		"that are being deleted": {[][]v1alpha1.CacheRequest{
			requests(1000, "r", none), requests(5, "d", func(r *v1alpha1.CacheRequest) { r.DeletionTimestamp = &metav1.Time{Time: start} }),
		}, nil},
		"other actions": {[][]v1alpha1.CacheRequest{requests(1500, "r", func(r *v1alpha1.CacheRequest) { r.Spec.Action = v1alpha1.RequestWarmUp })}, nil},
	} {
		var got []string
		for _, r := range request.Surplus(slices.Concat(tt.all...)) {
			got = append(got, r.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestReportsExpire holds that a report is kept for a day at most, also one that was
// created before the API refused a longer time, and no other request.
func TestReportsExpire(t *testing.T) {
	done := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	year, hour := &metav1.Duration{Duration: 8760 * time.Hour}, &metav1.Duration{Duration: time.Hour}
	for _, tt := range []struct {
		action v1alpha1.RequestAction
		ttl    *metav1.Duration
		want   time.Duration
	}{
		{v1alpha1.RequestReportBuild, year, 24 * time.Hour}, {v1alpha1.RequestReportFailure, year, 24 * time.Hour}, {v1alpha1.RequestReportBuild, hour, time.Hour},
		{v1alpha1.RequestReportBuild, nil, 24 * time.Hour}, {v1alpha1.RequestWarmUp, year, 8760 * time.Hour},
	} {
		r := &v1alpha1.CacheRequest{Spec: v1alpha1.CacheRequestSpec{Action: tt.action, TTLAfterFinished: tt.ttl}}
		r.Status.CompletionTime = &metav1.Time{Time: done}
		if got := request.Expires(r).Sub(done); got != tt.want {
			t.Errorf("%s for %v: kept for %s, want %s", tt.action, tt.ttl, got, tt.want)
		}
	}
}
