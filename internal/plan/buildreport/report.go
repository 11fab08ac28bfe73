package buildreport

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/request"
)

// Default is the build of a cache without sources.
const Default = "default"

// maxListed is how many builds the text of a refusal names.
const maxListed = 8

// Names are the builds of the warm-ups of a cache: SOURCE/BUILD, or SOURCE for one
// that declares none. Those of a cache that is shared from another one are in its
// status.
func Names(cache *v1alpha1.GoCache) []string {
	if cache.Spec.Source != nil {
		if s := cache.Status.Source; s != nil {
			return s.Builds
		}
		return nil
	}
	if cache.Spec.WarmUp == nil || len(cache.Spec.WarmUp.Sources) == 0 {
		return []string{Default}
	}
	var names []string
	sources := cache.Spec.WarmUp.Sources
	for i, source := range naming.SourceLabels(sources) {
		if len(sources[i].Builds) == 0 {
			names = append(names, source)
		}
		for _, b := range sources[i].Builds {
			names = append(names, source+"/"+b.Name)
		}
	}
	return names
}

// Answer is the outcome of a report; nil: the request is none. It needs no work of
// the cache, so that it does not wait for other requests, nor for a suspended cache.
func Answer(r *v1alpha1.CacheRequest, cache *v1alpha1.GoCache) *request.Answer {
	if !Is(r) {
		return nil
	}
	b := r.Spec.Build
	if names := Names(cache); b.Name != "" && !slices.Contains(names, b.Name) {
		return &request.Answer{Outcome: v1alpha1.RequestRefused, Message: fmt.Sprintf("GoCache %s has no build %s: report one of %s, or leave build.name out", cache.Name, b.Name, listed(names))}
	}
	return &request.Answer{Outcome: v1alpha1.RequestSucceeded, Message: fmt.Sprintf("%d of %d from the cache", b.Hits, b.Hits+b.Misses)}
}

func listed(names []string) string {
	switch {
	case len(names) == 0:
		return "none, since it offers no snapshot"
	case len(names) > maxListed:
		return strings.Join(names[:maxListed], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// Is reports whether a request is a report of a build.
func Is(r *v1alpha1.CacheRequest) bool {
	return r.Spec.Action == v1alpha1.RequestReportBuild && r.Spec.Build != nil
}

// Total are the reports of one build.
type Total struct {
	// Build as in [Names]; empty: reports without a name, or of a build that the
	// cache no longer declares.
	Build string
	// Builds are how many were reported, Hits and Misses their sums.
	Builds, Hits, Misses int64
	// Last is the newest of them, and Time when it was created.
	Last v1alpha1.BuildReport
	Time time.Time
}

// Percent of n that is hits, rounded down, so that 100 is all; 0 of none.
func Percent(hits, misses int64) int64 {
	if hits+misses == 0 {
		return 0
	}
	return hits * 100 / (hits + misses)
}

// Sum adds up the accepted reports for a cache by build, in the order of the names
// of the builds.
func Sum(all []v1alpha1.CacheRequest, cache *v1alpha1.GoCache) []Total {
	names := map[string]bool{}
	for _, name := range Names(cache) {
		names[name] = true
	}
	target := v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: cache.Name}
	totals := map[string]*Total{}
	for i := range all {
		r := &all[i]
		if !Is(r) || r.Namespace != cache.Namespace || r.Spec.TargetRef != target ||
			r.Status.Outcome != v1alpha1.RequestSucceeded || r.Status.TargetUID != string(cache.UID) {
			continue
		}
		name := r.Spec.Build.Name
		if !names[name] {
			name = ""
		}
		t := totals[name]
		if t == nil {
			t = &Total{Build: name}
			totals[name] = t
		}
		t.Builds++
		t.Hits += r.Spec.Build.Hits
		t.Misses += r.Spec.Build.Misses
		if created := r.CreationTimestamp.Time; !created.Before(t.Time) {
			t.Last, t.Time = *r.Spec.Build, created
		}
	}
	sorted := make([]Total, 0, len(totals))
	for _, t := range totals {
		sorted = append(sorted, *t)
	}
	slices.SortFunc(sorted, func(a, b Total) int { return cmp.Compare(a.Build, b.Build) })
	return sorted
}
