package buildreport_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/buildreport"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// cache has a source with builds and one without.
func cache() *v1alpha1.GoCache {
	c := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci", UID: "u"}}
	c.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{
		{Name: "billing", Builds: []v1alpha1.SourceBuild{{Name: "test"}, {Name: "race"}}},
		{ConfigMapRef: &v1alpha1.LocalReference{Name: "modules"}},
	}}
	return c
}

// report is one that was accepted, some minutes after start.
func report(build string, minute int, hits, misses int64, change ...func(*v1alpha1.CacheRequest)) v1alpha1.CacheRequest {
	r := v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("r-%d", minute), CreationTimestamp: metav1.NewTime(start.Add(time.Duration(minute) * time.Minute))}}
	r.Spec = v1alpha1.CacheRequestSpec{
		TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestReportBuild,
		Build: &v1alpha1.BuildReport{Name: build, Hits: hits, Misses: misses},
	}
	r.Status.Outcome, r.Status.TargetUID = v1alpha1.RequestSucceeded, "u"
	for _, f := range change {
		f(&r)
	}
	return r
}

// TestNames holds which builds may be reported: those that the spec declares, and of a
// shared cache those of its source.
func TestNames(t *testing.T) {
	shared := &v1alpha1.GoCache{Spec: v1alpha1.GoCacheSpec{Source: &v1alpha1.CacheSource{Namespace: "other", Name: "ci"}}}
	unshared := shared.DeepCopy()
	shared.Status.Source = &v1alpha1.CacheSourceStatus{Builds: []string{"billing/test"}}
	for name, tt := range map[string]struct {
		cache *v1alpha1.GoCache
		want  []string
	}{
		"of sources":       {cache(), []string{"billing/test", "billing/race", "modules"}},
		"without sources":  {&v1alpha1.GoCache{}, []string{"default"}},
		"shared":           {shared, []string{"billing/test"}},
		"not shared (yet)": {unshared, nil},
	} {
		if diff := cmp.Diff(tt.want, buildreport.Names(tt.cache)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// TestAnswer holds that a reporter chooses among the builds of the cache, and that a refusal
// lists them.
func TestAnswer(t *testing.T) {
	many := cache()
	for i := range 12 {
		many.Spec.WarmUp.Sources = append(many.Spec.WarmUp.Sources, v1alpha1.WarmUpSource{Name: fmt.Sprintf("s%d", i)})
	}
	none := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Name: "ci"}, Spec: v1alpha1.GoCacheSpec{Source: &v1alpha1.CacheSource{}}}
	for name, tt := range map[string]struct {
		cache   *v1alpha1.GoCache
		build   string
		outcome v1alpha1.RequestOutcome
		message string
	}{
		"a build":        {cache(), "billing/test", v1alpha1.RequestSucceeded, "7 of 10 from the cache"},
		"without a name": {cache(), "", v1alpha1.RequestSucceeded, "7 of 10 from the cache"},
		"another build":  {cache(), "billing/tset", v1alpha1.RequestRefused, "GoCache ci has no build billing/tset: report one of billing/test, billing/race, modules, or leave build.name out"},
		"one of many":    {many, "x", v1alpha1.RequestRefused, "s0, s1, s2, s3, s4, …, or leave"},
		"none is known":  {none, "x", v1alpha1.RequestRefused, "report one of none, since it offers no snapshot"},
	} {
		r := report(tt.build, 0, 7, 3)
		if got := buildreport.Answer(&r, tt.cache); got == nil || got.Outcome != tt.outcome || !strings.Contains(got.Message, tt.message) {
			t.Errorf("%s: %+v, want %s, %q", name, got, tt.outcome, tt.message)
		}
	}
	warmUp := &v1alpha1.CacheRequest{Spec: v1alpha1.CacheRequestSpec{Action: v1alpha1.RequestWarmUp}}
	if got := buildreport.Answer(warmUp, cache()); got != nil {
		t.Errorf("another action is answered: %+v", got)
	}
}

// TestSum holds what is added up: accepted reports for this object, by the builds that it
// declares, so that no reporter makes up a label.
func TestSum(t *testing.T) {
	all := []v1alpha1.CacheRequest{
		report("billing/test", 2, 10, 0), report("billing/test", 1, 5, 5),
		report("modules", 1, 0, 3),
		report("", 1, 1, 0), report("removed/since", 3, 1, 1),
		report("billing/test", 9, 99, 0, func(r *v1alpha1.CacheRequest) { r.Status.Outcome = v1alpha1.RequestRefused }),
		report("billing/test", 9, 99, 0, func(r *v1alpha1.CacheRequest) { r.Status.Outcome = "" }),
		report("billing/test", 9, 99, 0, func(r *v1alpha1.CacheRequest) { r.Status.TargetUID = "of another object of this name" }),
		report("billing/test", 9, 99, 0, func(r *v1alpha1.CacheRequest) { r.Spec.TargetRef.Name = "other" }),
		report("billing/test", 9, 99, 0, func(r *v1alpha1.CacheRequest) { r.Namespace = "other" }),
		report("billing/test", 9, 99, 0, func(r *v1alpha1.CacheRequest) { r.Spec.Action = v1alpha1.RequestWarmUp }),
	}
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	want := []buildreport.Total{
		{Build: "", Builds: 2, Hits: 2, Misses: 1, Last: v1alpha1.BuildReport{Name: "removed/since", Hits: 1, Misses: 1}, Time: at(3)},
		{Build: "billing/test", Builds: 2, Hits: 15, Misses: 5, Last: v1alpha1.BuildReport{Name: "billing/test", Hits: 10}, Time: at(2)},
		{Build: "modules", Builds: 1, Misses: 3, Last: v1alpha1.BuildReport{Name: "modules", Misses: 3}, Time: at(1)},
	}
	if diff := cmp.Diff(want, buildreport.Sum(all, cache())); diff != "" {
		t.Error(diff)
	}
}

// TestPercent holds that only a build without misses is shown as 100 %.
func TestPercent(t *testing.T) {
	for _, tt := range []struct{ hits, misses, want int64 }{{0, 0, 0}, {1, 0, 100}, {999, 1, 99}, {0, 3, 0}, {1, 1, 50}} {
		if got := buildreport.Percent(tt.hits, tt.misses); got != tt.want {
			t.Errorf("%d hits, %d misses: %d", tt.hits, tt.misses, got)
		}
	}
}
